"""Oversized, malformed and odd requests to a real server: a clear refusal, never a 5xx, and it serves on."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import psutil
import pytest

from providers.testing import FakeUpstream
from tests.postgres import create_database
from tests.security.bodies import BROKEN, ENCODED, JSON, NO_HTTP, ODD
from tests.security.operations import OPERATIONS, PUBLIC
from tests.security.wire import Answer, chunked, exchange, request
from tests.server import MODEL, Server

UNKNOWN: Final = "00000000000070008000000000000000"
STRICT: Final = (  # they read every body whole before anything else, and refuse each of BROKEN
    "/v1/videos",
    "/v1/videos/quote",
    "/v1/webhook_endpoints",
    "/v1/organization/projects",
    "/v1/upstreams",
)
MEGA: Final = 1_000_000


@pytest.fixture(scope="module")
def server(postgres_server: str) -> Iterator[Server]:
    """PostgreSQL takes less than SQLite does: no NUL, no half of a pair."""
    env = {
        "ONEREEL_DATABASE_URL": create_database(postgres_server, "bodies"),
        "ONEREEL_LIMITS__JSON_BYTES": "3000000",
    }
    with FakeUpstream() as upstream, Server(upstream=upstream, env=env) as running:
        yield running
        assert upstream.requests("POST") == []
        assert '"request_failed"' not in running.log_path.read_text()


@pytest.fixture(autouse=True)
def _serves_on(server: Server) -> Iterator[None]:
    yield
    assert server.process is not None
    assert server.process.poll() is None
    assert server.call("GET", "/v1/models")["data"][0]["id"] == MODEL


def sent(
    server: Server, path: str, content_type: str, body: bytes, *headers: str, method: str = "POST"
) -> Answer:
    more = (f"Content-Type: {content_type}", *headers)
    return exchange(server.port, [request(method, path, body, key=server.admin_key, headers=more)])


@pytest.mark.parametrize("path", STRICT)
def test_what_cannot_be_read_is_refused(server: Server, path: str) -> None:
    for name, (content_type, body) in BROKEN.items():
        answer = sent(server, path, content_type, body)
        allowed = {400} if path == "/v1/videos" else {400, 413}  # what takes no pictures has narrower limits
        assert answer.status in allowed, (name, answer)
        assert answer.headers["x-should-retry"] == "false"
        assert len(answer.error()["message"]) < 1000, name


def test_nothing_that_is_compressed_is_unpacked(server: Server) -> None:
    before = psutil.Process(server.pid).memory_info().rss
    for path, (name, (encoding, body)) in itertools.product(STRICT, ENCODED.items()):
        answer = sent(server, path, JSON, body, f"Content-Encoding: {encoding}")
        assert answer.status == 400, (name, answer)
        if name != "no such coding":  # which is no header, either
            assert answer.error()["code"] == "unsupported_content_encoding", name
    assert psutil.Process(server.pid).memory_info().rss - before < 30 * MEGA


def test_no_operation_breaks_over_a_body_or_an_address(server: Server) -> None:
    """Every operation with every broken body, and with odd words in its path and in each of its parameters."""
    document = json.loads(exchange(server.port, [request("GET", "/openapi.json")]).body)
    bodies = list(BROKEN.items())
    for operation in OPERATIONS:
        method, _, path = operation.partition(" ")
        if path.endswith("/events") or (OPERATIONS[operation] == PUBLIC and method == "GET"):
            continue  # a stream without end, and what is only read
        plain = re.sub(r"{\w+}", UNKNOWN, path)
        for name, (content_type, body) in bodies if method == "POST" else bodies[::20]:
            fine(sent(server, plain, content_type, body, method=method), (operation, name))
        item = document["paths"].get(path, {}).get(method.lower(), {})
        names = [each["name"] for each in item.get("parameters", ()) if each["in"] == "query"]
        for odd in ODD:
            targets = [f"{plain}?{name}={odd}" for name in names]
            if "{" in path:
                targets.append(re.sub(r"{\w+}", odd, path))
            for target in targets:
                fine(sent(server, target, JSON, b"", method=method), (operation, target))


def fine(answer: Answer, what: Any) -> None:
    assert 200 <= answer.status < 500, (what, answer)
    if answer.status >= 400 and answer.body:
        assert answer.error()["type"], what


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_request_is_refused_or_closed(server: Server, name: str) -> None:
    answer = exchange(server.port, [NO_HTTP[name]], to_close=True)
    assert answer.closed
    assert answer.status in {400, 401, 404, 405, 431} or (name == "noise" and answer.status == 0), answer
    if answer.status:
        assert answer.error()["type"] == "invalid_request_error"
    if answer.status == 431:
        assert "65536 bytes" in answer.error()["message"]


def test_a_second_request_does_not_hide_in_the_first(server: Server) -> None:
    """What two readers could take for the end of a body at two places is no request at all."""
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
    for head in (
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: xchunked\r\nContent-Length: 4",
        "Transfer-Encoding : chunked\r\nContent-Length: 4",
        "Transfer-Encoding:\x0bchunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 0",
        "Content-Length: 4,0",
    ):
        data = f"POST /v1/videos HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n0\r\n\r\n".encode() + hidden
        answer = exchange(server.port, [data], to_close=True)
        assert (answer.status, answer.closed) == (400, True), (head, answer)


def test_what_is_announced_as_too_large_is_refused_unread(server: Server) -> None:
    for size in (3_000_001, 10**9, 10**15):
        head = request(
            "POST", "/v1/videos", key=server.admin_key, length=size, headers=[f"Content-Type: {JSON}"]
        )
        answer = exchange(server.port, [head])
        assert (answer.status, answer.error()["code"]) == (413, "payload_too_large"), size
    form = "Content-Type: multipart/form-data; boundary=a"
    head = request("POST", "/v1/files", key=server.admin_key, length=10**13, headers=[form])
    assert exchange(server.port, [head]).status == 413


@pytest.mark.parametrize("content_type", [JSON, "multipart/form-data; boundary=Xx"])
def test_what_turns_out_too_large_is_refused_in_the_midst(server: Server, content_type: str) -> None:
    before = psutil.Process(server.pid).memory_info().rss
    head = request(
        "POST",
        "/v1/videos",
        key=server.admin_key,
        headers=[f"Content-Type: {content_type}", "Transfer-Encoding: chunked"],
    ).replace(b"Content-Length: 0\r\n", b"")
    begin = (
        b'{"prompt": "'
        if content_type == JSON
        else b'--Xx\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
    )
    endless = chunked(itertools.chain([begin], itertools.repeat(b"a" * 65536, 1600)))
    answer = exchange(server.port, itertools.chain([head], endless), pause=0.001)
    assert (answer.status, answer.error()["code"]) == (413, "payload_too_large")
    assert psutil.Process(server.pid).memory_info().rss - before < 40 * MEGA


def test_odd_but_honest_text_goes_through(server: Server) -> None:
    """What is only unusual is no attack: it comes back as it was."""
    name = "\u202e right to left, \U0001f600, e\u0301, \ufeff, \u2028, \x7f"
    made = server.call("POST", "/v1/organization/projects", {"name": name})
    assert made["name"] == name
    for number in (10**30, -(10**30), 2**63, 1e308):
        status, answer = server.request("POST", "/v1/videos", {"prompt": "x", "seed": number, "n": number})
        assert (status, answer["error"]["param"]) == (400, "seed"), answer
