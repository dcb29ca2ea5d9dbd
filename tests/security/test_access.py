"""Every operation without a key, with a bad one, with each single scope, and with somebody else's."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from sqlalchemy import create_engine, inspect, text

from gateway.app import create_app
from gateway.ids import new_id
from gateway.principal import Scope
from gateway.settings import Settings
from tests.gateway.asgi import asgi_client
from tests.gateway.media_files import make_image
from tests.gateway.videos.conftest import ACME
from tests.security.operations import ANY_KEY, OPERATIONS, PUBLIC

OPERATOR: Final = "sk-operator-0123456789abcdef0123456789abcdef"
GUARDED: Final = sorted(name for name, scope in OPERATIONS.items() if scope != PUBLIC)
TIMED: Final = {"/v1/organization/usage/videos", "/v1/organization/costs"}
CUSTOMER: Final = [scope.value for scope in Scope if scope is not Scope.OPERATOR]
MINE: Final = {"video_id", "file_id", "character_id", "endpoint_id"}
"""What belongs to a project; projects, keys and budgets belong to the organization."""


@dataclass
class Site:
    """A running application with one object of each kind, and keys of every kind."""

    app: Litestar
    http: httpx.AsyncClient
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)

    async def call(
        self, operation: str, key: str | None, ids: dict[str, str] | None = None
    ) -> httpx.Response:
        method, _, path = operation.partition(" ")
        filled = path.format(**(ids or self.ids))
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        body: Any = {} if method == "POST" else None
        since = {"start_time": "1700000000"} if path in TIMED else None
        return await self.http.request(method, filled, headers=headers, json=body, params=since)

    async def made(self, path: str, body: Any, key: str = OPERATOR, **more: Any) -> dict[str, Any]:
        answer = await self.http.post(path, json=body, headers={"authorization": f"Bearer {key}"}, **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def key(self, project: str, key: str = OPERATOR, **fields: Any) -> dict[str, Any]:
        path = f"/v1/organization/projects/{project}/api_keys"
        return await self.made(path, {"name": "k", **fields}, key)

    def counts(self) -> dict[str, int]:
        engine = create_engine(f"sqlite:///{self.folder / 'onereel.db'}")
        with engine.connect() as conn:
            return {
                name: int(conn.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one())
                for name in inspect(conn).get_table_names()
            }


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    settings = Settings(
        data_dir=tmp_path,
        upstreams=(ACME,),
        default_model="acme/fast",
        admin_key=OPERATOR,
        roles=("api",),
        local={"enabled": False},
        log_level="CRITICAL",
    )
    app = create_app(settings)
    async with app.lifespan(), asgi_client(app) as http:
        site = Site(app, http, tmp_path)
        site.ids = await objects(site)
        yield site


async def objects(site: Site) -> dict[str, str]:
    """One of everything, in the default project."""
    auth = {"authorization": f"Bearer {OPERATOR}"}
    project = (await site.http.get("/v1/organization/projects", headers=auth)).json()["data"][0]["id"]
    picture = {"file": ("p.png", make_image("PNG", (64, 64)), "image/png")}
    file = await site.http.post("/v1/files", files=picture, data={"purpose": "vision"}, headers=auth)
    assert file.status_code == 200, file.text
    endpoint = await site.made(
        "/v1/webhook_endpoints",
        {"url": "https://a.example/hook", "name": "mine", "event_types": ["video.completed"]},
    )
    budget = await site.made(
        "/v1/billing/budgets",
        {"scope": "project", "scope_id": project, "amount_usd": "5"},
    )
    return {
        "video_id": (await site.made("/v1/videos", {"prompt": "secret cat"}))["id"],
        "file_id": file.json()["id"],
        "endpoint_id": endpoint["id"],
        "budget_id": budget["id"],
        "project_id": project,
        "key_id": (await site.key(project))["id"],
        "organization_id": "org_default",
        "name": "acme",
        "model": "acme/fast",
        "character_id": new_id("char"),
        "delivery_id": new_id("evt"),
    }


def error_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["x-request-id"].startswith("req_")
    return dict(answer.json()["error"]) if answer.request.method != "HEAD" else {"code": None}


def is_page(route: HTTPRoute, handler: HTTPRouteHandler) -> bool:
    """Whether people look at it: tests/gateway/dashboard/test_doors.py tries those."""
    others = ("/v1/", "/health/", "/metrics", "/docs/api", "/openapi.json")
    return not handler.resolve_include_in_schema() and not route.path.startswith(others)


async def test_no_operation_is_forgotten(site: Site) -> None:
    found = {
        f"{method} {route.path_format}"
        for route in site.app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method != "OPTIONS" and not is_page(route, handler)
    }
    documented = {
        f"{method.upper()} {path}"
        for path, item in site.app.openapi_schema.to_schema()["paths"].items()
        for method in item
        if method in {"get", "post", "put", "patch", "delete", "head"}
    }
    assert found == set(OPERATIONS), (
        "add what is new to tests/security/operations.py, with the scope it wants"
    )
    assert documented <= found


async def test_nothing_without_a_good_key(site: Site) -> None:
    project = site.ids["project_id"]
    revoked, expired = await site.key(project), await site.key(project, expires_at=4_000_000_000)
    path = f"/v1/organization/projects/{project}/api_keys/{revoked['id']}"
    await site.http.delete(path, headers={"authorization": f"Bearer {OPERATOR}"})
    engine = create_engine(f"sqlite:///{site.folder / 'onereel.db'}")
    with engine.begin() as conn:
        conn.execute(text("UPDATE api_keys SET expires_at = 1 WHERE id = :id"), {"id": expired["id"]})
    bad = [None, "", "a b", "onereel_unknown", OPERATOR[:-1], revoked["value"], expired["value"]]
    before = site.counts()
    for operation in GUARDED:
        for key in bad:
            answer = await site.call(operation, key)
            assert answer.status_code == 401, (operation, key, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            if operation[:4] != "HEAD":
                assert set(error_of(answer)) == {"message", "type", "param", "code"}
                assert "secret cat" not in answer.text
    assert site.counts() == before


@pytest.mark.parametrize("scope", CUSTOMER)
async def test_a_scope_opens_what_wants_it_and_nothing_else(site: Site, scope: str) -> None:
    key = (await site.key(site.ids["project_id"], scopes=[scope]))["value"]
    refused = [name for name in GUARDED if OPERATIONS[name] not in {scope, ANY_KEY}]
    before = site.counts()
    for operation in refused:
        answer = await site.call(operation, key)
        assert answer.status_code == 403, (operation, answer.text)
        assert operation[:4] == "HEAD" or error_of(answer)["code"] == "missing_scope"
    assert site.counts() == before
    for operation in GUARDED:
        if OPERATIONS[operation] in {scope, ANY_KEY} and "/events" not in operation:
            answer = await site.call(operation, key)
            assert answer.status_code not in {401, 403}, (operation, answer.text)
            assert answer.status_code < 500, (operation, answer.text)


def another(known: str) -> str:
    """An id of the same kind, of nothing."""
    kind, _, rest = known.partition("_")
    return f"{kind}_{new_id('req').partition('_')[2]}" if rest else known


def unlike(answer: httpx.Response, ids: dict[str, str]) -> str:
    """The body without the ids that were asked for."""
    body = answer.text
    for each in ids.values():
        body = body.replace(each, "<id>")
    return re.sub(r"req_[0-9a-f]{32}", "<request>", body)


async def foreign(site: Site, key: str, params: set[str]) -> None:
    """What has such a parameter answers as for an object that does not exist; no list shows one of ours."""
    unknown = {name: another(value) for name, value in site.ids.items()}
    before = site.counts()
    for operation in GUARDED:
        scope, named = OPERATIONS[operation], set(re.findall(r"{(\w+)}", operation))
        if scope == "operator":
            assert (await site.call(operation, key)).status_code == 403, operation
        elif named & params:
            answer, other = await site.call(operation, key), await site.call(operation, key, unknown)
            assert answer.status_code == other.status_code, (operation, answer.text)
            assert unlike(answer, site.ids) == unlike(other, unknown), operation
            assert answer.status_code in {400, 404}, (operation, answer.text)
        elif operation.startswith("GET") and not named:
            answer = await site.call(operation, key)
            without_stripe = answer.status_code == 400 and error_of(answer)["code"] == "stripe_not_configured"
            assert answer.status_code == 200 or without_stripe, (operation, answer.text)
            for name in params:
                assert site.ids[name] not in answer.text, operation
    assert site.counts() == before


async def test_another_organization_sees_and_changes_nothing(site: Site) -> None:
    other = await site.made("/v1/organizations", {"name": "other"})
    auth = {"X-Onereel-Project": other["default_project_id"], "authorization": f"Bearer {OPERATOR}"}
    path = f"/v1/organization/projects/{other['default_project_id']}/api_keys"
    answer = await site.http.post(path, json={"name": "all", "scopes": CUSTOMER}, headers=auth)
    key = answer.json()
    await foreign(site, key["value"], {*MINE, "project_id", "key_id", "budget_id"})


async def test_another_project_sees_and_changes_nothing(site: Site) -> None:
    project = (await site.made("/v1/organization/projects", {"name": "other"}))["id"]
    key = await site.key(
        project, scopes=["videos.read", "videos.write", "files.read", "files.write", "webhooks"]
    )
    unknown = {name: another(site.ids[name]) for name in MINE}
    before = site.counts()
    for operation in GUARDED:
        if set(re.findall(r"{(\w+)}", operation)) & MINE:
            answer = await site.call(operation, key["value"])
            other = await site.call(operation, key["value"], {**site.ids, **unknown})
            assert answer.status_code == other.status_code
            assert answer.status_code in {400, 404}, (operation, answer.text)
            assert unlike(answer, site.ids) == unlike(other, unknown), operation
    for path in ("/v1/videos", "/v1/files", "/v1/webhook_endpoints"):
        page = await site.http.get(path, headers={"authorization": f"Bearer {key['value']}"})
        assert page.json()["data"] == []
    assert site.counts() == before


async def test_what_is_public_proves_by_itself_who_may(site: Site) -> None:
    before = site.counts()
    stripe = await site.http.post(
        "/v1/billing/stripe/webhook", content=b"{}", headers={"stripe-signature": "t=1,v1=0"}
    )
    assert stripe.status_code in {400, 404}
    callback = await site.http.post(f"/v1/callbacks/{new_id('att')}/{'0' * 32}", json={})
    assert callback.status_code == 404
    video = site.ids["video_id"]
    link = await site.http.get(f"/v1/inputs/{video}/0/4000000000/{'0' * 64}/picture.png")
    assert link.status_code in {403, 404}
    proxied = await site.http.get("/metrics", headers={"x-forwarded-for": "127.0.0.1"})
    assert proxied.status_code == 403
    assert site.counts() == before
