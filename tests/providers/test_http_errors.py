"""What a broken or refusing upstream turns into: real sockets, real failures."""

import asyncio
import json
import socket
import time
from email.utils import formatdate
from typing import Any

import pytest

from providers.answers import clean
from providers.contract import Account, ErrorKind, MediaRole, ProviderError
from providers.http import AccountClient, HttpDoor
from providers.multipart import FormField
from providers.sockets import checked_last
from tests.providers.wire import Exchange, Respond, answering, media, serving

SECRET = "sk-very-secret-credential"


def client(door: HttpDoor, base_url: str) -> AccountClient:
    return door.account(Account("acme", base_url, SECRET))


async def failure(respond: Respond, *, seconds: float = 5, form: bool = False) -> ProviderError:
    """The error that a create at such a server ends in."""
    door = HttpDoor()
    fields: list[FormField] = [("prompt", "x"), ("video", media(MediaRole.SOURCE, b"v" * 5000))]
    body: dict[str, Any] = {"form": fields} if form else {"json": {"prompt": "x"}}

    async def create(base_url: str) -> None:
        answer = await client(door, base_url).request("POST", "/videos", timeout=seconds, **body)
        answer.object()

    async with serving(respond) as server:
        with pytest.raises(ProviderError) as caught:
            await create(server.base_url)
    await door.close()
    assert SECRET not in caught.value.message
    assert len(caught.value.message) <= 300
    return caught.value


def envelope(message: str, code: str | None = None) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "code", "kind", "ambiguous"),
    [
        (400, None, ErrorKind.INVALID_REQUEST, False),
        (400, "moderation_blocked", ErrorKind.MODERATION_BLOCKED, False),
        (400, "content_policy_violation", ErrorKind.MODERATION_BLOCKED, False),
        (400, "sentinel_block", ErrorKind.MODERATION_BLOCKED, False),
        (401, None, ErrorKind.PROVIDER_AUTH, False),
        (402, None, ErrorKind.PROVIDER_FUNDS, False),
        (403, None, ErrorKind.PROVIDER_AUTH, False),
        (404, None, ErrorKind.JOB_LOST, False),
        (404, "model_not_found", ErrorKind.MODEL_RETIRED, False),
        (405, None, ErrorKind.PROVIDER_ERROR, False),
        (408, None, ErrorKind.PROVIDER_UNAVAILABLE, True),
        (409, None, ErrorKind.PROVIDER_ERROR, False),
        (410, None, ErrorKind.JOB_LOST, False),
        (413, None, ErrorKind.INVALID_REQUEST, False),
        (415, None, ErrorKind.INVALID_REQUEST, False),
        (422, None, ErrorKind.INVALID_REQUEST, False),
        (429, None, ErrorKind.RATE_LIMITED, False),
        (429, "insufficient_quota", ErrorKind.PROVIDER_FUNDS, False),
        (500, None, ErrorKind.PROVIDER_UNAVAILABLE, True),
        (502, "moderation_blocked", ErrorKind.PROVIDER_UNAVAILABLE, True),
        (503, None, ErrorKind.PROVIDER_UNAVAILABLE, True),
        (504, None, ErrorKind.PROVIDER_UNAVAILABLE, True),
        (302, None, ErrorKind.PROVIDER_ERROR, False),
    ],
)
async def test_statuses(status: int, code: str | None, kind: ErrorKind, ambiguous: bool) -> None:
    error = await failure(answering(status, envelope("No.", code)))
    assert (error.kind, error.ambiguous, error.http_status) == (kind, ambiguous, status)
    assert error.message == "No."


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({}, None),
    ],
)
async def test_retry_after(header: dict[str, str], expected: float | None) -> None:
    error = await failure(answering(429, envelope("Slow down."), **header))
    assert error.retry_after == expected


async def test_retry_after_as_a_date() -> None:
    error = await failure(answering(429, b"", retry_after=formatdate(time.time() + 30, usegmt=True)))
    assert error.retry_after is not None
    assert 25 < error.retry_after <= 30


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html><body>502 Bad Gateway</body></html>", "the upstream answered HTTP 400"),
        (b"", "the upstream answered HTTP 400"),
        (b'{"error": "plain text"}', "plain text"),
        (b'{"detail": "flat"}', "flat"),
        (b"just words\n\x00 here", "just words here"),
        (b"[1, 2]", "the upstream answered HTTP 400"),
        (envelope(f"key {SECRET} is bad"), "key [credential] is bad"),
        (envelope("Incorrect API key provided: sk-abcdefghijkl"), "Incorrect API key provided: [credential]"),
        (envelope("y" * 900), "y" * 299 + "…"),
    ],
)
async def test_messages_are_clean(body: bytes, message: str) -> None:
    assert (await failure(answering(400, body))).message == message


def test_no_part_of_a_credential_is_repeated() -> None:
    message = "key AKID12345678 with secret-key-1234 is not valid in eu (AKID12345678:secret-key-1234:eu)"
    assert clean(message, "AKID12345678:secret-key-1234:eu") == (
        "key [credential] with [credential] is not valid in eu ([credential])"
    )
    assert clean("a : b", "") == "a : b"


async def test_unreadable_success_is_ambiguous() -> None:
    for body in (b'{"id": "vid', b"<html>ok</html>", b"", b"[]"):
        error = await failure(answering(200, body))
        assert (error.kind, error.ambiguous) == (ErrorKind.PROVIDER_ERROR, True)


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    door = HttpDoor()
    with pytest.raises(ProviderError) as caught:
        await client(door, f"http://127.0.0.1:{port}/v1").request("POST", "/videos", json={})
    await door.close()
    assert (caught.value.kind, caught.value.ambiguous) == (ErrorKind.PROVIDER_UNAVAILABLE, False)


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        ("http://127.0.0.1:9", "could not connect: Connection refused"),
        ("http://upstream.invalid", "could not connect: "),
    ],
)
async def test_where_an_upstream_lies_is_not_told(base_url: str, why: str) -> None:
    door = HttpDoor()
    with pytest.raises(ProviderError) as caught:
        await client(door, base_url).request("GET", "/videos")
    await door.close()
    assert caught.value.message.startswith(why)
    assert base_url.partition("//")[2].partition(":")[0] not in caught.value.message


async def test_tls_with_a_server_that_speaks_none_says_so() -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    door, server = HttpDoor(), await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ProviderError, match="could not connect: TLS") as caught:
        await client(door, f"https://127.0.0.1:{port}").request("GET", "/videos")
    assert not caught.value.ambiguous
    server.close()
    await door.close()


async def test_a_connection_that_is_never_accepted_is_not_ambiguous() -> None:
    """A full backlog: the connect itself times out, so nothing was sent."""
    door = HttpDoor()
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        with pytest.raises(ProviderError) as caught:
            await client(door, url).request("POST", "/videos", json={}, timeout=5)
    await door.close()
    assert (caught.value.kind, caught.value.ambiguous) == (ErrorKind.PROVIDER_UNAVAILABLE, False)


class NoLongerOurs(Exception):
    pass


async def test_the_last_check_is_made_on_a_standing_connection_before_any_byte() -> None:
    """On a new connection and on a kept one; what it refuses has not reached the server, and nothing else is hurt."""
    heard: list[int] = []

    async def respond(exchange: Exchange) -> None:
        heard.append(len(await exchange.body()))
        await exchange.answer(200, b"{}", connection="keep-alive")

    def refuse() -> None:
        connected.append(len(server.exchanges))
        raise NoLongerOurs

    connected: list[int] = []
    door = HttpDoor()
    async with serving(respond) as server:
        api = client(door, server.base_url)
        for body in ({"json": {"prompt": "x"}}, {"form": [("prompt", "x")]}):
            with pytest.raises(NoLongerOurs), checked_last(refuse):
                await api.request("POST", "/videos", **body)
            await asyncio.sleep(0.05)
            assert [exchange.line for exchange in server.exchanges if exchange.line] == [
                "POST /v1/videos HTTP/1.1"
            ] * len(heard)
            with checked_last(lambda: None):
                await api.request("POST", "/videos", json={})
    await door.close()
    assert heard == [2, 2]
    assert len(connected) == 2


async def closes_at_once(exchange: Exchange) -> None:
    await exchange.body()


async def resets(exchange: Exchange) -> None:
    await exchange.body()
    exchange.reset()


async def says_nothing(exchange: Exchange) -> None:
    await exchange.body()
    await asyncio.sleep(5)


async def cuts_the_head(exchange: Exchange) -> None:
    await exchange.body()
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
    await exchange.writer.drain()


async def cuts_the_body(exchange: Exchange) -> None:
    await exchange.body()
    await exchange.answer(200, b'{"id": "v', content_length="900")


async def drips(exchange: Exchange) -> None:
    await exchange.body()
    await exchange.answer(200, b"", content_length="900")
    for _ in range(50):
        await asyncio.sleep(0.1)
        exchange.writer.write(b" ")


async def speaks_no_http(exchange: Exchange) -> None:
    await exchange.body()
    exchange.writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    await exchange.writer.drain()


@pytest.mark.parametrize(
    "respond", [closes_at_once, resets, says_nothing, cuts_the_head, cuts_the_body, drips, speaks_no_http]
)
@pytest.mark.parametrize("form", [False, True])
async def test_broken_after_the_request_was_sent(respond: Respond, form: bool) -> None:
    started = time.monotonic()
    error = await failure(respond, seconds=1, form=form)
    assert (error.kind, error.ambiguous) == (ErrorKind.PROVIDER_UNAVAILABLE, True)
    assert time.monotonic() - started < 2.5


async def test_a_refusal_that_breaks_off_is_still_a_refusal() -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(400, b'{"error": {"mess', content_length="900")

    error = await failure(respond)
    assert (error.kind, error.ambiguous) == (ErrorKind.INVALID_REQUEST, False)


async def test_an_answer_without_end_is_cut() -> None:
    door = HttpDoor()
    async with serving(answering(200, b" " * 5000)) as server:
        with pytest.raises(ProviderError, match="longer than 1000 bytes") as caught:
            await client(door, server.base_url).request("GET", "/videos", max_bytes=1000)
    await door.close()
    assert caught.value.ambiguous


async def test_a_dead_idle_connection_does_not_fail_the_next_post() -> None:
    """A server that closes kept connections: the pool notices and opens another."""

    async def respond(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(200, b"{}", connection="keep-alive")

    door = HttpDoor()
    async with serving(respond) as server:
        for _ in range(5):
            answer = await client(door, server.base_url).request("POST", "/videos", json={})
            assert answer.object() == {}
            await asyncio.sleep(0.05)
        assert len(server.exchanges) == 5
    await door.close()


async def test_no_line_per_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    door = HttpDoor()
    async with serving(answering(200, b"{}")) as server:
        await client(door, server.base_url).request("GET", "/videos")
    await door.close()
    assert not caplog.records


async def test_credential_forms() -> None:
    door = HttpDoor()
    seen = []
    async with serving(answering(200, b"{}")) as server:
        for options in ({}, {"auth": {"header": "X-Key", "prefix": "Token "}}, {"auth": "none"}):
            account = Account("acme", server.base_url, "abc", options)
            await door.account(account).request("GET", "/videos")
            headers = server.exchanges[-1].headers
            seen.append((headers.get("authorization"), headers.get("x-key")))
        with pytest.raises(ValueError, match=r"options\.auth"):
            door.account(Account("acme", server.base_url, "abc", {"auth": "magic"}))
    await door.close()
    assert seen == [("Bearer abc", None), (None, "Token abc"), (None, None)]


async def test_many_requests_share_few_connections() -> None:
    live, most = 0, 0

    async def respond(exchange: Exchange) -> None:
        nonlocal live, most
        live += 1
        most = max(most, live)
        await asyncio.sleep(0.05)
        live -= 1
        await exchange.answer(200, b"{}")

    door = HttpDoor()
    async with serving(respond) as server:
        api = client(door, server.base_url)
        await asyncio.gather(*(api.request("GET", "/videos") for _ in range(200)))
    await door.close()
    assert 100 <= most <= 128
