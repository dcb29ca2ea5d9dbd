"""Bearer keys and the admin paths, over the real middleware, error handlers and controllers."""

from collections.abc import AsyncIterator

import httpx
import openai
import pytest
from litestar import Litestar, Request, get, post
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware

from gateway.clock import Clock
from gateway.db import Database
from gateway.http.auth import Authentication, provide_principal, requires
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.http.keys import CONTROLLERS
from gateway.idempotency.service import Idempotency
from gateway.keys.limits import RequestLimits
from gateway.keys.service import DEFAULT_PROJECT, KeyService
from gateway.principal import Principal, Scope
from gateway.settings import Limits, Settings
from tests.gateway.keys.conftest import FakeTime, NewKey

PROJECTS = "/v1/organization/projects"
KEYS = f"{PROJECTS}/{DEFAULT_PROJECT}/api_keys"


@get("/whoami", opt=requires(Scope.VIDEOS_READ))
async def whoami(request: Request[Principal, str, State]) -> dict[str, str]:
    return {"key": request.user.key_id, "project": request.user.project_id}


@post("/make", opt={"limit": "create"}, status_code=200)
async def make() -> dict[str, str]:
    return {}


@get("/health/live")
async def live() -> dict[str, str]:
    return {}


@pytest.fixture
async def http(
    db: Database, clock: Clock, settings: Settings, keys: KeyService
) -> AsyncIterator[httpx.AsyncClient]:
    limited = settings.model_copy(update={"limits": Limits(reads_per_minute=4)})
    app = Litestar(
        [*CONTROLLERS, whoami, make, live],
        middleware=[DefineMiddleware(Authentication, keys=keys, limits=RequestLimits(limited))],
        exception_handlers=EXCEPTION_HANDLERS,
        dependencies={
            "principal": Provide(provide_principal, sync_to_thread=False),
            "keys": Provide(lambda: keys, sync_to_thread=False),
            "idempotency": Provide(lambda: idempotency, sync_to_thread=False),
        },
    )
    idempotency = Idempotency(db, clock)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # Litestar types ASGI more narrowly
    async with httpx.AsyncClient(transport=transport, base_url="http://onereel.test") as client:
        yield client


@pytest.fixture
async def admin(new_key: NewKey) -> dict[str, str]:
    made = await new_key(scopes=list(Scope))
    return {"Authorization": f"Bearer {made['value']}"}


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "did not provide an API key"),
        ({"Authorization": ""}, "did not provide an API key"),
        ({"Authorization": "onereel_abc"}, "must read 'Bearer <key>'"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "must read 'Bearer <key>'"),
        ({"Authorization": "Bearer"}, "must read 'Bearer <key>'"),
        ({"Authorization": "Bearer one two"}, "must read 'Bearer <key>'"),
        ({"Authorization": "Bearer onereel_wrong"}, "Incorrect API key"),
        ({"Authorization": b"Bearer \xff\xfe"}, "Incorrect API key"),
    ],
)
async def test_a_401_says_what_is_wrong(http: httpx.AsyncClient, headers: dict[str, str], says: str):
    answer = await http.get("/whoami", headers=headers)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert says in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_probes_need_no_key(http: httpx.AsyncClient):
    assert (await http.get("/health/live")).status_code == 200


async def test_a_guard_refuses_a_missing_scope(http: httpx.AsyncClient, new_key: NewKey):
    for scopes, status in ((["videos.read"], 200), (["files.read"], 403), (["operator"], 200)):
        made = await new_key(scopes=scopes)
        answer = await http.get("/whoami", headers={"Authorization": f"bearer {made['value']}"})
        assert answer.status_code == status
    assert answer.json() == {"key": made["id"], "project": DEFAULT_PROJECT}


async def test_the_operator_names_another_project(
    http: httpx.AsyncClient, admin: dict[str, str], stranger: Principal, new_key: NewKey
):
    there = {"X-Onereel-Project": stranger.project_id}
    answer = await http.get("/whoami", headers=admin | there)
    assert answer.json()["project"] == stranger.project_id
    plain = {"Authorization": f"Bearer {(await new_key())['value']}"}
    assert (await http.get("/whoami", headers=plain | there)).status_code == 404
    assert (await http.get("/whoami", headers=admin | {"X-Onereel-Project": "proj_x"})).status_code == 404


async def test_creates_are_limited_with_headers_and_reads_by_themselves(
    http: httpx.AsyncClient, new_key: NewKey
):
    made = await new_key(requests_per_minute=2)
    headers = {"Authorization": f"Bearer {made['value']}"}
    for left in ("1", "0"):
        answer = await http.post("/make", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-remaining-requests"] == left
    refused = await http.post("/make", headers=headers)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    statuses = [(await http.get("/whoami", headers=headers)).status_code for _ in range(5)]
    assert statuses == [200] * 4 + [429]


async def test_the_life_of_a_key(http: httpx.AsyncClient, admin: dict[str, str]):
    body = {"name": "ci", "models": ["acme/fast"], "requests_per_minute": 60, "concurrent_videos": 3}
    made = (await http.post(KEYS, json=body, headers=admin)).json()
    caller = {"Authorization": f"Bearer {made['value']}"}
    assert (await http.get("/whoami", headers=caller)).json()["key"] == made["id"]
    changed = await http.post(f"{KEYS}/{made['id']}", json={"requests_per_minute": None}, headers=admin)
    assert changed.json()["requests_per_minute"] is None
    listed = (await http.get(KEYS, headers=admin)).json()
    assert listed["object"] == "list"
    assert listed["data"][0] == changed.json()
    gone = await http.delete(f"{KEYS}/{made['id']}", headers=admin)
    assert gone.json() == {
        "id": made["id"],
        "object": "organization.project.api_key.deleted",
        "deleted": True,
    }
    assert (await http.get("/whoami", headers=caller)).status_code == 401
    assert (await http.get(f"{KEYS}/{made['id']}", headers=admin)).status_code == 404


async def test_a_repeated_post_makes_one_key(http: httpx.AsyncClient, admin: dict[str, str]):
    once = admin | {"Idempotency-Key": "one"}
    first = await http.post(KEYS, json={"name": "ci"}, headers=once)
    again = await http.post(KEYS, json={"name": "ci"}, headers=once)
    assert again.json() == first.json() | {"value": None}
    other = await http.post(KEYS, json={"name": "cd"}, headers=once)
    assert other.json()["error"]["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("content", "content_type", "param"),
    [
        (b'{"name": "x", "budget": 5}', "application/json", "budget"),
        (b"{}", "application/json", "name"),
        (b"", "application/json", "name"),
        (b"[1]", "application/json", None),
        (b"{", "application/json", None),
        (b"name=x", "application/x-www-form-urlencoded", None),
        (b'{"name": "x", "pad": "' + b"x" * 300_000 + b'"}', "application/json", None),
    ],
)
async def test_bad_bodies_are_400s_that_name_the_field(
    http: httpx.AsyncClient, admin: dict[str, str], content: bytes, content_type: str, param: str | None
):
    answer = await http.post(KEYS, content=content, headers=admin | {"Content-Type": content_type})
    assert answer.status_code in {400, 413}
    assert answer.json()["error"]["param"] == param


async def test_a_form_makes_a_key_and_a_file_is_refused(http: httpx.AsyncClient, admin: dict[str, str]):
    part = (None, "7")
    made = await http.post(KEYS, files={"name": (None, "form"), "requests_per_minute": part}, headers=admin)
    assert (made.status_code, made.json()["requests_per_minute"]) == (200, 7)
    refused = await http.post(KEYS, files={"name": ("a.txt", b"x")}, headers=admin)
    assert refused.status_code == 400


async def test_organizations_are_the_operators(
    http: httpx.AsyncClient, admin: dict[str, str], new_key: NewKey, time: FakeTime
):
    time.seconds += 1
    made = (await http.post("/v1/organizations", json={"name": "Studio"}, headers=admin)).json()
    listed = (await http.get("/v1/organizations", headers=admin)).json()
    assert [each["name"] for each in listed["data"]] == ["Studio", "Default"]
    there = admin | {"X-Onereel-Project": made["default_project_id"]}
    projects = (await http.get(PROJECTS, headers=there)).json()["data"]
    assert [project["id"] for project in projects] == [made["default_project_id"]]
    below = {"Authorization": f"Bearer {(await new_key(scopes=['organization']))['value']}"}
    assert (await http.post("/v1/organizations", json={"name": "x"}, headers=below)).status_code == 403


async def test_the_sdks_admin_client_works(http: httpx.AsyncClient, admin: dict[str, str], time: FakeTime):
    time.seconds += 1
    token = admin["Authorization"].removeprefix("Bearer ")
    sdk = openai.AsyncOpenAI(
        api_key="unused",
        admin_api_key=token,
        base_url="http://onereel.test/v1",
        http_client=http,  # type: ignore[arg-type]  # this SDK names httpx2, which is the same interface
        _strict_response_validation=True,
    )
    projects = sdk.admin.organization.projects
    project = await projects.create(name="Films")
    assert (await projects.update(project.id, name="Movies")).name == "Movies"
    assert [each.name async for each in projects.list(limit=1)] == ["Movies", "Default"]
    made = (await http.post(f"{PROJECTS}/{project.id}/api_keys", json={"name": "k"}, headers=admin)).json()
    [key] = [each async for each in projects.api_keys.list(project.id)]
    assert key.id == made["id"]
    assert (await projects.api_keys.retrieve(key.id, project_id=project.id)).name == "k"
    assert (await projects.api_keys.delete(key.id, project_id=project.id)).deleted
    assert (await projects.archive(project.id)).status == "archived"
    assert [each.name async for each in projects.list(include_archived=True)] == ["Movies", "Default"]
