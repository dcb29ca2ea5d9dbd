"""Videos inside JSON: read in bounded memory, whatever the answer looks like."""

import base64
import json
import os
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from providers.contract import Content, ErrorKind, ProviderError
from providers.inline_video import LEFT_OUT, base64_content, json_without_long_strings

MEBIBYTE = 1024 * 1024


def answer(data: bytes, step: int = 7) -> Content:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), step):
            yield data[start : start + step]

    return Content("application/json", len(data), chunks())


async def read(content: Content) -> bytes:
    return b"".join([chunk async for chunk in content.chunks])


def inline(video: bytes) -> bytes:
    text = base64.b64encode(video).decode()
    videos = [{"mimeType": "video/mp4", "bytesBase64Encoded": text}]
    named = {"note": 'a "quoted" bytesBase64Encoded', "bytesBase64": "eA=="}
    return json.dumps({"done": True, **named, "response": {"videos": videos}}).encode()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 10_000])
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 4001])
async def test_the_file_comes_out_whatever_the_chunks(step: int, size: int) -> None:
    video = os.urandom(size)
    assert await read(base64_content(answer(inline(video), step), "bytesBase64Encoded")) == video


@pytest.mark.parametrize("step", [1, 5, 64])
async def test_escapes_url_safe_letters_and_missing_padding(step: int) -> None:
    video = bytes(range(250, 256)) * 40 + b"x"
    text = base64.b64encode(video).decode()
    for written in (
        text.replace("/", "\\/").replace("=", "\\u003d"),
        text.replace("+", "-").replace("/", "_").rstrip("="),
        text.replace("A", "A\\n"),
    ):
        body = ('{"data" : "' + written + '"}').encode()
        assert await read(base64_content(answer(body, step), "data")) == video


async def test_forty_megabytes_pass_through_two() -> None:
    part = base64.b64encode(bytes(96 * 1024))

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"done": true, "data": "'
        for _ in range(40 * MEBIBYTE // len(part)):
            yield part
        yield b'"}'

    tracemalloc.start()
    try:
        received = 0
        async for chunk in base64_content(Content("application/json", None, chunks()), "data").chunks:
            received += len(chunk)
        assert await json_without_long_strings(Content("", None, chunks())) == {
            "done": True,
            "data": LEFT_OUT,
        }
        assert tracemalloc.get_traced_memory()[1] < 2 * MEBIBYTE
    finally:
        tracemalloc.stop()
    assert received == 40 * MEBIBYTE // len(part) * 96 * 1024


async def test_short_strings_stay_and_long_ones_go() -> None:
    value = {"a": 'short "\\ ü', "b": "x" * 5000, "c": [1, None, {"x" * 3: "y"}]}
    seen = await json_without_long_strings(answer(json.dumps(value).encode(), 3))
    assert seen == {**value, "b": LEFT_OUT}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"data": "AAAA', ErrorKind.PROVIDER_UNAVAILABLE),
        (b'{"other": "AAAA"}', ErrorKind.PROVIDER_ERROR),
        (b'{"data": null}', ErrorKind.PROVIDER_ERROR),
        (b'{"x": "data", "y": "AAAA"}', ErrorKind.PROVIDER_ERROR),
        (b'{"data": "A"}', ErrorKind.PROVIDER_ERROR),
        (b'{"data": "A\\"AA"}', ErrorKind.PROVIDER_ERROR),
        (b"<html>", ErrorKind.PROVIDER_ERROR),
    ],
)
async def test_what_is_no_video(body: bytes, kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        await read(base64_content(answer(body), "data"))
    assert caught.value.kind is kind


@pytest.mark.parametrize("body", [b"<html>", b'{"a": "b', b'{"a": ' + b"[1]," * 400_000])
async def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        await json_without_long_strings(answer(body, 10_000))
    assert caught.value.kind is ErrorKind.PROVIDER_ERROR
