"""Forms as streams: right length, bounded memory, and certainty about what the upstream can have seen."""

import asyncio
import os
from collections.abc import AsyncIterator
from email import message_from_bytes

import psutil
import pytest

from providers.contract import Account, ErrorKind, MediaInput, MediaRole, ProviderError
from providers.http import HttpDoor
from providers.multipart import FormField, MultipartBody, bracketed
from tests.providers.wire import Exchange, answering, media, serving


async def written(fields: list[FormField]) -> tuple[MultipartBody, bytes]:
    body = MultipartBody(fields)
    return body, b"".join([chunk async for chunk in body])


async def test_the_form_is_what_a_parser_expects_and_as_long_as_announced() -> None:
    fields: list[FormField] = [
        ("prompt", "zwei Füchse\r\n--x"),
        ('odd"name\n', "v"),
        ("input_reference", media(MediaRole.FIRST_FRAME, b"\x89PNG", "image/png")),
        ("video", media(MediaRole.SOURCE, os.urandom(5000))),
        ("seconds", "4"),
        ("empty", media(MediaRole.SOURCE, b"")),
    ]
    body, data = await written(fields)
    assert len(data) == body.length
    assert body.handed_over
    parsed = message_from_bytes(f"Content-Type: {body.content_type}\r\n\r\n".encode() + data)
    parts = [part for part in parsed.walk() if not part.is_multipart()]
    shown = [
        (p.get_param("name", header="content-disposition"), p.get_filename(), p.get_content_type())
        for p in parts
    ]
    assert shown == [
        ("prompt", None, "text/plain"),
        ("odd%22name%0A", None, "text/plain"),
        ("input_reference", "first_frame.png", "image/png"),
        ("video", "source.mp4", "video/mp4"),
        ("seconds", None, "text/plain"),
        ("empty", "source.mp4", "video/mp4"),
    ]
    assert b"zwei F\xc3\xbcchse\r\n--x" in data


async def test_a_form_without_files_is_one_piece() -> None:
    body = MultipartBody([("a", "1"), ("b", "2")])
    assert len([chunk async for chunk in body]) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", [("f", "x")]),
        (3, [("f", "3")]),
        (1.5, [("f", "1.5")]),
        (True, [("f", "true")]),
        (False, [("f", "false")]),
        (None, []),
        ({"a": 1, "b": {"c": None, "d": "e"}}, [("f[a]", "1"), ("f[b][d]", "e")]),
        ([1, {"u": "v"}], [("f[]", "1"), ("f[][u]", "v")]),
    ],
)
def test_brackets(value: object, expected: list[tuple[str, str]]) -> None:
    assert bracketed("f", value) == expected


def lasting(size: int, real: int | None = None, error: Exception | None = None) -> MediaInput:
    """A file that is not in memory; `real` is its true length, `error` what reading it ends in."""

    async def pieces() -> AsyncIterator[bytes]:
        piece, left = b"x" * 65536, size if real is None else real
        while left > 0:
            yield piece[:left]
            left -= len(piece)
            await asyncio.sleep(0)
        if error is not None:
            raise error

    return MediaInput(MediaRole.SOURCE, "video/mp4", size, pieces)


async def test_a_large_file_passes_through() -> None:
    size = 192 * 1024 * 1024
    process = psutil.Process()
    most = before = process.memory_info().rss

    async def respond(exchange: Exchange) -> None:
        nonlocal most
        left = int(exchange.headers["content-length"])
        while left:
            left -= len(await exchange.reader.read(65536))
            most = max(most, process.memory_info().rss) if left % 64 == 0 else most
        await exchange.answer(200, b"{}")

    door = HttpDoor()
    async with serving(respond) as server:
        client = door.account(Account("acme", server.base_url))
        form: list[FormField] = [("prompt", "x"), ("video", lasting(size))]
        await client.request("POST", "/videos/edits", form=form, timeout=60)
        headers = server.exchanges[0].headers
    await door.close()
    assert int(headers["content-length"]) > size
    assert "transfer-encoding" not in headers
    assert max(most, process.memory_info().rss) - before < 30 * 1024 * 1024


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        (lasting(300_000, real=200_000), ErrorKind.INPUT_MEDIA, "not the 300000 bytes"),
        (lasting(300_000, real=400_000), ErrorKind.INPUT_MEDIA, "not the 300000 bytes"),
        (
            lasting(300_000, real=9, error=OSError("disk")),
            ErrorKind.PROVIDER_UNAVAILABLE,
            "could not be read",
        ),
    ],
)
async def test_a_file_that_cannot_be_sent_whole_starts_nothing(
    file: MediaInput, kind: ErrorKind, message: str
) -> None:
    complete = False

    async def respond(exchange: Exchange) -> None:
        nonlocal complete
        await exchange.body()
        complete = True
        await exchange.answer(200, b"{}")

    door = HttpDoor()
    async with serving(respond) as server:
        client = door.account(Account("acme", server.base_url))
        with pytest.raises(ProviderError, match=message) as caught:
            await client.request("POST", "/videos/edits", form=[("video", file)], timeout=5)
    await door.close()
    assert (caught.value.kind, caught.value.ambiguous) == (kind, False)
    assert not complete


async def test_a_connection_lost_in_the_middle_of_the_form_is_not_ambiguous() -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.reader.read(100_000)
        exchange.reset()

    door = HttpDoor()
    async with serving(respond) as server:
        client = door.account(Account("acme", server.base_url))
        with pytest.raises(ProviderError) as caught:
            await client.request("POST", "/v", form=[("video", lasting(64 * 1024 * 1024))], timeout=5)
    await door.close()
    assert (caught.value.kind, caught.value.ambiguous) == (ErrorKind.PROVIDER_UNAVAILABLE, False)


async def test_a_refusal_before_the_whole_form_was_sent_is_not_ambiguous() -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.answer(413, b"")

    door = HttpDoor()
    async with serving(respond) as server:
        client = door.account(Account("acme", server.base_url))
        with pytest.raises(ProviderError) as caught:
            await client.request("POST", "/v", form=[("video", lasting(64 * 1024 * 1024))], timeout=5)
    await door.close()
    assert not caught.value.ambiguous


async def test_a_file_is_opened_anew_for_each_request() -> None:
    door = HttpDoor()
    source = media(MediaRole.SOURCE, b"abc" * 1000)
    async with serving(answering(200, b"{}")) as server:
        client = door.account(Account("acme", server.base_url))
        for _ in range(2):
            await client.request("POST", "/v", form=[("video", source)])
        assert {e.received for e in server.exchanges} == {int(server.exchanges[0].headers["content-length"])}
    await door.close()
