"""Clients that send little or nothing: no connection is held for ever, and the others are served meanwhile."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import psutil
import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.http.connection import Connection
from providers.testing import FakeUpstream
from tests.security.bodies import FORM, JSON
from tests.security.wire import connections, exchange, request
from tests.server import Server

SECONDS: Final = 3  # for a head, and within a body
LATE: Final = 30  # no test waits as long: what is closed after that was not closed by us
MANY: Final = 300
DRIP: Final = 0.2


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    env = {
        "ONEREEL_LIMITS__HEADER_SECONDS": str(SECONDS),
        "ONEREEL_LIMITS__BODY_SECONDS": str(SECONDS),
    }
    with FakeUpstream() as upstream, Server(upstream=upstream, env=env) as running:
        yield running
        assert '"request_failed"' not in running.log_path.read_text()


def drops(data: bytes) -> Iterator[bytes]:
    """One byte after the other, and on without end."""
    return itertools.chain((bytes([each]) for each in data), itertools.repeat(b"a"))


def test_a_head_in_drops_is_ended(server: Server) -> None:
    answer = exchange(server.port, drops(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-A: "), DRIP, to_close=True)
    assert (answer.status, answer.error()["code"], answer.closed) == (408, "request_timeout", True)
    assert SECONDS - 0.5 < answer.seconds < LATE


def test_half_a_head_is_ended(server: Server) -> None:
    for half in (b"G", b"GET /v1/models HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n"):
        answer = exchange(server.port, [half], to_close=True)
        assert (answer.status, answer.closed) == (0 if half == b"\r\n\r\n" else 408, True), half
        assert answer.seconds < LATE


def test_a_second_head_in_drops_is_ended(server: Server) -> None:
    whole = request("GET", "/health/live")
    answer = exchange(
        server.port, itertools.chain([whole], drops(b"GET /v1/models HTTP/1.1\r\nA: ")), DRIP, to_close=True
    )
    assert (answer.status, answer.closed) == (200, True)
    assert answer.seconds < LATE


@pytest.mark.parametrize("content_type", [JSON, FORM])
@pytest.mark.parametrize("begin", [b"", b"--Xx\r\nContent-Disposition: form-data; name=prompt\r\n\r\na"])
def test_a_body_that_stops_is_ended(server: Server, content_type: str, begin: bytes) -> None:
    head = request(
        "POST", "/v1/videos", key=server.admin_key, length=100_000, headers=[f"Content-Type: {content_type}"]
    )
    answer = exchange(server.port, [head + begin], to_close=True)
    assert (answer.status, answer.closed) == (408, True)
    assert answer.error()["code"] == "request_timeout"
    assert SECONDS - 0.5 < answer.seconds < LATE


def test_a_body_in_drops_is_ended(server: Server) -> None:
    """It never pauses for long, and would last for a day."""
    head = request(
        "POST", "/v1/videos", key=server.admin_key, length=500_000, headers=[f"Content-Type: {JSON}"]
    )
    answer = exchange(server.port, itertools.chain([head], drops(b'{"prompt": "')), DRIP, to_close=True)
    assert (answer.status, answer.closed) == (408, True)
    assert SECONDS - 0.5 < answer.seconds < LATE


def test_what_comes_after_a_refusal_is_not_read_for_ever(server: Server) -> None:
    head = request("POST", "/v1/videos", key="wrong", length=10**6, headers=[f"Content-Type: {JSON}"])
    answer = exchange(server.port, itertools.chain([head], drops(b"{")), DRIP, to_close=True)
    assert (answer.status, answer.closed) == (401, True)
    assert answer.seconds < LATE


def test_a_slow_but_steady_body_is_read_to_its_end(server: Server) -> None:
    """Two KiB a second for longer than a pause may be."""
    body = b'{"prompt": "' + b"a" * 12_000 + b'", "model": "none"}'
    head = request(
        "POST", "/v1/videos", key=server.admin_key, length=len(body), headers=[f"Content-Type: {JSON}"]
    )
    pieces = (body[start : start + 1024] for start in range(0, len(body), 1024))
    answer = exchange(server.port, itertools.chain([head], pieces), 0.4)
    assert (answer.status, answer.error()["code"]) == (404, "model_not_found"), answer
    assert answer.seconds > SECONDS


async def test_a_connection_that_says_nothing_is_ended() -> None:
    """After the time that an idle one is kept, which `onereel serve` sets to 65 s."""

    async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("nobody asked")

    http: Any = partial(Connection, header_seconds=SECONDS)
    config = uvicorn.Config(nothing, http=http, lifespan="off", log_config=None, timeout_keep_alive=1)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        "127.0.0.1",
        0,
    )
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    began = time.monotonic()
    assert await asyncio.wait_for(reader.read(), LATE) == b""
    assert time.monotonic() - began > 0.9
    writer.close()
    listening.close()


def test_many_slow_clients_keep_nobody_waiting_and_leave_nothing(server: Server) -> None:
    files = psutil.Process(server.pid).num_fds()
    half = b"POST /v1/videos HTTP/1.1\r\nHost: a\r\nX-A: "
    with contextlib.ExitStack() as held:
        for _ in range(MANY):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            slow.sendall(half)
        began = time.monotonic()
        for _ in range(20):
            assert exchange(server.port, [request("GET", "/health/live")]).status == 200
        assert time.monotonic() - began < 10
        deadline = time.monotonic() + LATE
        while (left := connections(server.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == 0
    assert psutil.Process(server.pid).num_fds() <= files + 10
