"""Request bodies over real ASGI: JSON and multipart give the same fields, bad ones a clear 400, no file stays."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, post
from pydantic import BaseModel, ValidationError

from gateway.http.body import Body, UploadedFile, read_body
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.settings import Limits
from tests.gateway.asgi import asgi_client

LIMITS = Limits(json_bytes=4000, file_bytes=3_000_000, form_fields=20)
B = "XXboundaryXX"
FORM = {"content-type": f"multipart/form-data; boundary={B}"}
JSON = {"content-type": "application/json"}


class Server:
    """One route that keeps what it read."""

    def __init__(self, directory: Path) -> None:
        self.bodies: list[Body] = []
        self.contents: list[bytes] = []
        self.directory = directory

        @post("/", status_code=200)
        async def handler(request: Request[Any, Any, Any]) -> dict[str, str]:
            async with read_body(request, LIMITS, directory) as body:
                self.bodies.append(body)
                self.contents += [
                    f.path.read_bytes() for f in body.fields.values() if isinstance(f, UploadedFile)
                ]
                return {"hash": body.hash}

        app = Litestar(
            [handler], exception_handlers=EXCEPTION_HANDLERS, openapi_config=None, logging_config=None
        )
        self.client = asgi_client(app)

    async def send(self, content: bytes | AsyncIterator[bytes], headers: dict[str, str]) -> httpx.Response:
        answer = await self.client.post("/", content=content, headers=headers)
        assert list(self.directory.iterdir()) == []
        return answer

    async def fields(self, content: bytes, headers: dict[str, str]) -> dict[str, Any]:
        answer = await self.send(content, headers)
        assert answer.status_code == 200, answer.text
        return self.bodies[-1].fields

    async def refused(
        self, content: bytes | AsyncIterator[bytes], headers: dict[str, str], status: int = 400
    ) -> dict[str, Any]:
        answer = await self.send(content, headers)
        assert answer.status_code == status, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert answer.headers["x-should-retry"] == "false"
        return error


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


def part(name: str, value: bytes, extra: str = "", type_: str = "") -> bytes:
    content_type = f"\r\nContent-Type: {type_}" if type_ else ""
    head = f'--{B}\r\nContent-Disposition: form-data; name="{name}"{extra}{content_type}\r\n\r\n'
    return head.encode() + value + b"\r\n"


END = f"--{B}--\r\n".encode()


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_json(server):
    assert await server.fields(b'{"prompt":"a","n":2,"x":{"y":[1,null]}}', JSON) == {
        "prompt": "a",
        "n": 2,
        "x": {"y": [1, None]},
    }


async def test_colons_are_no_names(server):
    text = b'{"a:b":":::","c":{"d":"\\u003a"},"e":["::",{"f":1},{"f":2}]}'
    assert await server.fields(text, JSON) == json.loads(text)


@pytest.mark.parametrize("headers", [{}, JSON, {"content-type": "application/problem+json; charset=utf-8"}])
async def test_an_empty_body_is_an_empty_object(server, headers):
    assert await server.fields(b"", headers) == {}


async def test_form_with_text_files_and_brackets(server):
    image = b"\x89PNG" + bytes(range(256))
    body = (
        part("prompt", "two\r\nlines é".encode())
        + part("video[id]", b"video_1")
        + part("input_reference", image, '; filename="../../etc/passwd"')
        + part("empty", b"", '; filename=""')
        + END
    )
    fields = await server.fields(body, FORM)
    upload = fields.pop("input_reference")
    assert fields == {"prompt": "two\nlines é", "video": {"id": "video_1"}, "empty": ""}
    assert (upload.size, upload.sha256) == (len(image), hashlib.sha256(image).hexdigest())
    assert upload.path.parent == server.directory
    assert server.contents == [image]


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
async def test_the_same_form_in_any_pieces(server, size):
    data = bytes(range(256)) * (20 if size < 64 else 9000)
    body = part("a", b"1") + part("f", data, '; filename="x"', "image/png") + END
    answer = await server.send(pieces(body, size), FORM)
    assert answer.status_code == 200, answer.text
    assert server.contents == [data]


async def test_hash_is_the_same_for_json_and_form(server):
    value = {
        "prompt": "a\nb",
        "seconds": 8,
        "audio": True,
        "seed": None,
        "metadata": {"a": "1"},
        "lora": [1.0, 2.5],
    }
    form = (
        part("seconds", b"8")
        + part("prompt", b"a\r\nb")
        + part("audio", b"true")
        + part("lora[]", b"1")
        + part("lora[]", b"2.5")
        + part("metadata[a]", b"1")
        + END
    )
    one = await server.send(json.dumps(value).encode(), JSON)
    two = await server.send(form, FORM)
    three = await server.send(
        form.replace(B.encode(), b"other"), {"content-type": "multipart/form-data; boundary=other"}
    )
    different = await server.send(json.dumps({**value, "seconds": 4}).encode(), JSON)
    assert one.json() == two.json() == three.json() != different.json()


async def test_hash_covers_files_not_their_names(server):
    def form(data: bytes, name: str) -> bytes:
        return part("f", data, f'; filename="{name}"') + END

    answers = [await server.send(form(*each), FORM) for each in [(b"x", "a"), (b"x", "b"), (b"y", "a")]]
    first, second, third = (answer.json()["hash"] for answer in answers)
    assert first == second != third


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b'{"a": 1,\n "b" 2}', "invalid_json", "line 2"),
        (b'{"a": 1', "invalid_json", "too early"),
        (b'{"a": NaN}', "invalid_json", "byte 6"),
        (b'{"a": Infinity}', "invalid_json", "byte 6"),
        (b'{"a": 1e999}', "invalid_json", "out of range"),
        (b"[1]", "invalid_json", "object"),
        (b'"text"', "invalid_json", "object"),
        (b"null", "invalid_json", "object"),
        (b'{"a":"\xff"}', "invalid_json", "UTF-8"),
        (b'{"a":"\\ud800"}', "invalid_json", "JSON"),
        (b'{"a":"x\\u0000y"}', "invalid_value", "NUL"),
        (b'{"a":1,"a":2}', "duplicate_field", "twice"),
        (b'{"a":"\\u003a","b":[{"\\u0061":1,"a":2}]}', "duplicate_field", "twice"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep", "32"),
        (b"[" * 3000, "too_deep", "32"),
        (b"\xef\xbb\xbf{}", "invalid_json", "byte 0"),
    ],
)
async def test_broken_json(server, content, code, says):
    error = await server.refused(content, JSON)
    assert error["code"] == code
    assert says in error["message"]


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "image/png", "multipart/mixed; boundary=a", ""],
)
async def test_wrong_content_type_names_both_accepted(server, content_type):
    error = await server.refused(b"a=1", {"content-type": content_type} if content_type else {})
    assert error["code"] == "unsupported_content_type"
    assert "application/json or multipart/form-data" in error["message"]


async def test_compressed_body_is_refused(server):
    error = await server.refused(b"x", {**JSON, "content-encoding": "gzip"})
    assert error["code"] == "unsupported_content_encoding"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_multipart"),
        (b"garbage", "invalid_multipart"),
        (part("a", b"1"), "invalid_multipart"),
        (part("a", b"1") + END[:-4], "invalid_multipart"),
        (b"--" + B.encode() + b"\r\n\r\nno headers\r\n" + END, "invalid_multipart"),
        (
            b"--" + B.encode() + b"\r\nContent-Disposition: form-data\r\n\r\nno name\r\n" + END,
            "invalid_multipart",
        ),
        (part("a", b"\xff") + END, "invalid_encoding"),
        (part("a", b"x\0y") + END, "invalid_value"),
        (part("a", b"1") + part("a", b"2") + END, "duplicate_field"),
        (part("a[1][2][3][4][5][6]", b"1") + END, "too_deep"),
        (part("a[", b"1") + END, "invalid_field_name"),
        (b"".join(part(f"f{n}", b"1") for n in range(21)) + END, "too_many_fields"),
        (b"".join(part(f"f{n}", b"1", '; filename="x"') for n in range(11)) + END, "too_many_files"),
    ],
)
async def test_broken_form(server, content, code):
    assert (await server.refused(content, FORM))["code"] == code


@pytest.mark.parametrize(
    "value",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 300}"],
)
async def test_missing_boundary(server, value):
    assert (await server.refused(part("a", b"1") + END, {"content-type": value}))[
        "code"
    ] == "missing_boundary"


async def test_json_over_the_limit(server):
    big = b'{"a":"' + b"x" * 5000 + b'"}'
    assert (await server.refused(big, JSON, 413))["code"] == "payload_too_large"
    assert (await server.refused(pieces(big, 100), JSON, 413))["code"] == "payload_too_large"


async def test_file_over_the_limit_names_its_field(server):
    body = part("video", b"x" * 3_000_001, '; filename="x"') + END
    for content in (body, pieces(body, 65_536)):
        error = await server.refused(content, FORM, 413)
        assert (error["code"], error["param"]) == ("file_too_large", "video")


async def test_form_text_over_the_limit(server):
    assert (await server.refused(part("a", b"x" * 4001) + END, FORM, 413))["code"] == "payload_too_large"


async def test_announced_length_is_checked_before_anything_is_read(server):
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("the body was read")

    headers = {**JSON, "content-length": "1000000000"}
    assert (await server.refused(never(), headers, 413))["code"] == "payload_too_large"


async def test_a_file_that_was_moved_stays(tmp_path):
    uploads, kept = tmp_path / "uploads", tmp_path / "kept"
    uploads.mkdir()

    @post("/", status_code=200)
    async def handler(request: Request[Any, Any, Any]) -> None:
        async with read_body(request, LIMITS, uploads) as body:
            body.fields["f"].path.rename(kept)

    app = Litestar([handler], openapi_config=None)
    async with asgi_client(app) as client:
        await client.post("/", content=part("f", b"data", '; filename="x"') + END, headers=FORM)
    assert kept.read_bytes() == b"data"
    assert list(uploads.iterdir()) == []


async def test_a_client_that_hangs_up_leaves_nothing(tmp_path):
    @post("/", status_code=200)
    async def handler(request: Request[Any, Any, Any]) -> None:
        async with read_body(request, LIMITS, tmp_path):
            raise AssertionError("the body was never complete")

    app = Litestar([handler], openapi_config=None, exception_handlers=EXCEPTION_HANDLERS)
    events = iter([{"type": "http.request", "body": part("f", b"half", '; filename="x"'), "more_body": True}])
    sent = []

    async def receive() -> Any:
        return next(events, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", FORM["content-type"].encode()), (b"host", b"test")]
    scope: Any = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b""}
    scope |= {"headers": headers, "state": {}, "client": None, "server": None, "scheme": "http"}
    await asyncio.wait_for(app(scope, receive, send), 5)
    assert sent[0]["status"] == 400
    assert list(tmp_path.iterdir()) == []


def test_json_can_never_name_a_file_of_this_machine():
    class Form(BaseModel):
        video: UploadedFile

    with pytest.raises(ValidationError):
        Form.model_validate({"video": {"path": "/etc/passwd", "size": 1, "sha256": "", "filename": "x"}})
