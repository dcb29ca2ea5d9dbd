"""Every refusal is OpenAI's envelope with a request id, whoever raises it."""

import asyncio
from typing import Annotated, Any

import pytest
import structlog
from litestar import Litestar, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotAuthorizedException, PermissionDeniedException
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from pydantic import BaseModel, Field, ValidationError

from gateway.db_group import DatabaseAway, TransactionLost
from gateway.errors import BadRequest, NotFound, QuotaExceeded, RateLimited, Unavailable
from gateway.events import Hints
from gateway.http.dependencies import provided, resolve_in_turn
from gateway.http.errors import EXCEPTION_HANDLERS, field_error
from gateway.http.pagination import PageRequest, list_envelope, provide_page
from gateway.http.request_id import RequestContext
from gateway.process import Stopping
from gateway.telemetry import Metrics
from tests.gateway.asgi import asgi_client

RAISED: dict[str, Exception] = {
    "bad": BadRequest("no", param="size", code="bad_size"),
    "missing": NotFound("gone"),
    "fast": RateLimited("slow down", retry_after=500),
    "broke": QuotaExceeded("no money"),
    "down": Unavailable("later"),
    "away": DatabaseAway("host=db user=onereel password=hunter2"),
    "full": TransactionLost("the disk is full"),
    "unauthorized": NotAuthorizedException("who are you"),
    "forbidden": PermissionDeniedException("no"),
    "conflict": HTTPException("odd", status_code=409),
    "litestar_500": HTTPException("the password is hunter2"),
    "bug": RuntimeError("the password is hunter2"),
}


@get("/raise/{name:str}")
async def raising(name: FromPath[str]) -> None:
    raise RAISED[name]


@get("/called/{name:str}/{token:str}")
async def called(name: FromPath[str], token: FromPath[str]) -> None:
    raise RAISED[name]


@get("/typed")
async def typed(n: Annotated[int, QueryParameter(ge=0)]) -> int:
    return n


@post("/big", status_code=200)
async def big(data: JSONBody[dict[str, Any]]) -> None: ...


@get("/stream")
async def stream() -> Stream:
    async def chunks() -> Any:
        yield "a"
        yield "b"

    return Stream(chunks())


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def client(metrics):
    app = Litestar(
        [raising, called, typed, big, stream],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=100,
    )
    app.asgi_handler = RequestContext(app.asgi_handler, metrics, Hints(), Stopping(Hints()))
    return asgi_client(app)


def error_of(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["openai-processing-ms"].isdecimal()
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("name", "status", "code", "retry"),
    [
        ("bad", 400, "bad_size", "false"),
        ("missing", 404, "not_found", "false"),
        ("fast", 429, "rate_limit_exceeded", None),
        ("broke", 429, "insufficient_quota", "false"),
        ("down", 503, "unavailable", None),
        ("away", 503, "database_away", None),
        ("unauthorized", 401, "invalid_api_key", "false"),
        ("forbidden", 403, "permission_denied", "false"),
        ("conflict", 409, "invalid_request", None),
        ("litestar_500", 500, "internal_error", None),
        ("bug", 500, "internal_error", None),
    ],
)
async def test_whatever_is_raised(client, name, status, code, retry):
    answer = await client.get(f"/raise/{name}")
    assert error_of(answer, status)["code"] == code
    assert answer.headers.get("x-should-retry") == retry


async def test_retry_after_is_at_most_a_minute(client):
    answer = await client.get("/raise/fast")
    assert answer.headers["retry-after"] == "60"


async def test_a_database_that_is_away_is_soon_back_and_its_address_nobodys_business(client):
    answer = await client.get("/raise/away")
    assert answer.headers["retry-after"] == "1"
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("name", ["away", "full", "bug"])
async def test_a_failure_is_logged_without_the_secret_of_its_path(client, name):
    with structlog.testing.capture_logs() as logs:
        await client.get(f"/called/{name}/s3cret-token")
    paths = [line["path"] for line in logs if "path" in line]
    assert paths
    assert not any("s3cret-token" in path for path in paths)


async def test_a_bug_is_logged_with_its_request_id_and_not_told(client):
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        answer = await client.get("/raise/bug")
    request_id = answer.headers["x-request-id"]
    assert "hunter2" not in answer.text
    assert request_id in answer.json()["error"]["message"]
    failed = next(line for line in logs if line["event"] == "request_failed")
    assert failed["request_id"] == request_id
    assert isinstance(failed["exc_info"], RuntimeError)


async def test_unknown_path(client):
    error = error_of(await client.get("/v1/nowhere"), 404)
    assert error["code"] == "unknown_path"
    assert "/v1/nowhere" in error["message"]


async def test_wrong_method_says_what_is_allowed(client):
    answer = await client.delete("/typed")
    error = error_of(answer, 405)
    assert (error["code"], answer.headers["x-should-retry"]) == ("method_not_allowed", "false")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "OPTIONS"}
    assert "Use GET." in error["message"]


@pytest.mark.parametrize("query", ["", "?n=x", "?n=-1"])
async def test_bad_parameter_is_named(client, query):
    assert error_of(await client.get(f"/typed{query}"), 400)["param"] == "n"


async def test_litestars_own_body_limit(client):
    assert error_of(await client.post("/big", json={"a": "x" * 200}), 413)["code"] == "payload_too_large"


async def test_every_request_id_is_new_and_never_the_clients(client):
    answers = [await client.get("/typed?n=1", headers={"x-request-id": "mine"}) for _ in range(3)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 3
    assert "mine" not in ids


async def test_streams_are_marked_too(client):
    answer = await client.get("/stream")
    assert answer.text == "ab"
    assert answer.headers["x-request-id"].startswith("req_")


async def test_requests_are_counted_by_route_not_by_path(client, metrics):
    for path in ("/raise/bad", "/raise/missing", "/secret/path"):
        await client.get(path)
    text = metrics.exposition()[0].decode()
    assert 'onereel_http_requests_total{method="GET",route="/raise/{name}",status="400"} 1.0' in text
    assert 'onereel_http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert "secret" not in text


class Inner(BaseModel):
    n: int = Field(ge=1)


class Form(BaseModel):
    name: str
    items: list[Inner] = []


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "name", "missing_required_parameter"),
        ({"name": 1}, "name", "invalid_value"),
        ({"name": "a", "items": [{"n": 1}, {"n": 0}]}, "items[1][n]", "invalid_value"),
    ],
)
def test_field_errors_name_the_field_as_the_client_wrote_it(fields, param, code):
    with pytest.raises(ValidationError) as caught:
        Form.model_validate(fields)
    error = field_error(caught.value)
    assert (error.param, error.code) == (param, code)


@get("/page")
async def listing(page: NamedDependency[PageRequest]) -> dict[str, Any]:
    data = [{"id": f"v{n}"} for n in range(page.limit)]
    return {**list_envelope(data, has_more=True), "after": page.after, "down": page.descending}


@pytest.fixture
def pages():
    page = Provide(provide_page, sync_to_thread=False)
    return asgi_client(
        Litestar([listing], dependencies={"page": page}, exception_handlers=EXCEPTION_HANDLERS)
    )


async def test_pages(pages):
    first = (await pages.get("/page")).json()
    assert (first["object"], len(first["data"]), first["first_id"], first["last_id"]) == (
        "list",
        20,
        "v0",
        "v19",
    )
    assert (first["has_more"], first["after"], first["down"]) == (True, None, True)
    other = (await pages.get("/page?limit=2&after=v7&order=asc")).json()
    assert (len(other["data"]), other["after"], other["down"]) == (2, "v7", False)
    empty = (await pages.get("/page?limit=0")).json()
    assert (empty["data"], empty["first_id"], empty["last_id"], empty["has_more"]) == ([], None, None, False)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=-1", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=1.5", "limit"),
        ("order=up", "order"),
        ("after=", "after"),
        (f"after={'x' * 201}", "after"),
    ],
)
async def test_bad_pages_name_the_parameter(pages, query, param):
    answer = await pages.get(f"/page?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_dependencies_are_resolved_without_tasks():
    tasks = []

    def noted() -> Any:
        def note() -> str:
            tasks.append(asyncio.current_task())
            return "x"

        return note

    @get("/")
    async def handler(a: NamedDependency[str], b: NamedDependency[str], c: NamedDependency[str]) -> str:
        tasks.append(asyncio.current_task())
        return a + b + c

    parts = {name: Provide(noted(), sync_to_thread=False) for name in "ab"}
    app = Litestar([handler], dependencies={**parts, **provided({"c": "y"})}, openapi_config=None)
    resolve_in_turn(app)
    assert (await asgi_client(app).get("/")).text == "xxy"
    assert len(set(tasks)) == 1
