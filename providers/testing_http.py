"""The smallest HTTP framework the fake upstream needs: requests with decoded forms, answers, broken answers."""

import asyncio
import hashlib
import io
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from multipart import MultipartError, MultipartParser, parse_options_header
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "fake.transport"


class BreakableProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the connection within the application's reach, so that it can be broken."""

    def on_message_begin(self) -> None:
        """Put the transport into the scope."""
        super().on_message_begin()
        self.scope["state"][TRANSPORT] = self.transport


@dataclass
class UploadedPart:
    """A file part of a form."""

    filename: str
    content_type: str
    data: bytes

    def summary(self) -> dict[str, Any]:
        """What the request log keeps of it."""
        return {
            "filename": self.filename,
            "content_type": self.content_type,
            "size": len(self.data),
            "sha256": hashlib.sha256(self.data).hexdigest(),
        }


@dataclass
class Request:
    """A request read whole. `fields` are as on the wire: repeated form names become lists.

    `params` are what the route's braces matched; `body` are the bytes as they came.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    transport: asyncio.Transport
    body: bytes = b""
    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[UploadedPart]] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Where the client sent it: scheme, host and port."""
        return f"http://{self.headers['host']}"

    @property
    def foreign(self) -> str:
        """The same server under another host name: where content lies."""
        return f"http://localhost:{self.headers['host'].rpartition(':')[2]}/foreign"

    def text(self, name: str, default: str = "") -> str:
        """One field as text."""
        value = self.fields.get(name)
        return default if value is None else str(value)


@dataclass
class Answer:
    """What to send back. `pause` seconds between parts of the body; `cut` bytes and then a broken connection."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0
    cut: int | None = None
    dropped: bool = False


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; header names are given with underscores."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"content-type": "application/json", **named})


def as_error(status: int, code: str | None, message: str, **headers: str) -> Answer:
    """An error in OpenAI's envelope."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return as_json({"error": error}, status, **headers)


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Read and decode one request. Raises ValueError for a body that is not what it says."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    request = Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
        headers={name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
        transport=scope["state"][TRANSPORT],
        body=bytes(body),
    )
    _decode(request, bytes(body))
    return request


def _decode(request: Request, body: bytes) -> None:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == "multipart/form-data":
        _decode_form(request, body, options.get("boundary", ""))
    elif kind == "application/x-www-form-urlencoded":
        request.fields = dict(parse_qsl(body.decode()))
    elif body and not kind.startswith(("image/", "video/", "audio/")):
        value = json.loads(body)
        request.fields = value if isinstance(value, dict) else {"": value}


def _decode_form(request: Request, body: bytes, boundary: str) -> None:
    try:
        for part in MultipartParser(
            io.BytesIO(body), boundary, len(body), memory_limit=2**30, part_limit=2**10
        ):
            if part.filename is not None:
                upload = UploadedPart(part.filename, part.content_type or "", part.raw)
                request.files.setdefault(part.name, []).append(upload)
            elif part.name in request.fields:
                before = request.fields[part.name]
                request.fields[part.name] = [*(before if isinstance(before, list) else [before]), part.value]
            else:
                request.fields[part.name] = part.value
    except MultipartError as error:
        raise ValueError(str(error)) from error


async def send_answer(answer: Answer, request: Request, send: Send) -> None:
    """Send an answer, or break off as it says."""
    if answer.dropped:
        request.transport.abort()
        return
    headers = {"content-length": str(len(answer.body)), **answer.headers}
    head = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": head})
    if answer.cut is not None:
        await send({"type": "http.response.body", "body": answer.body[: answer.cut], "more_body": True})
        request.transport.close()
        return
    step = len(answer.body) if not answer.pause else max(1, len(answer.body) // 10)
    for start in range(0, len(answer.body), step or 1):
        await send(
            {"type": "http.response.body", "body": answer.body[start : start + step], "more_body": True}
        )
        await asyncio.sleep(answer.pause)
    await send({"type": "http.response.body", "body": b""})
