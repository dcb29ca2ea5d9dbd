"""An object of our storage as an HTTP answer: whole, in part, or unchanged; read as fast as the client takes it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Protocol
from urllib.parse import quote

import structlog
from litestar import Request
from litestar.response.base import ASGIResponse
from litestar.types import HTTPResponseBodyEvent, Receive, Send
from litestar.types import Scope as AsgiScope

from gateway.errors import Unavailable
from gateway.http.ranges import Span, span_of, unchanged
from gateway.storage import Storage, StorageError

log = structlog.get_logger(__name__)

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-()")


class Downloadable(Protocol):
    """What to send: where it lies, bytes, a version that changes with the content, type and name."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def version(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def filename(self) -> str: ...


class Download(ASGIResponse):
    """Answers a GET or HEAD for a Downloadable. RangeNotSatisfiable is raised at once.

    The client's own cache may keep it for `keep_seconds` without asking again.
    """

    def __init__(
        self,
        storage: Storage,
        item: Downloadable,
        request: Request[Any, Any, Any],
        *,
        keep_seconds: int = 0,
    ) -> None:
        etag = f'"{item.version}"'
        headers = {
            "accept-ranges": "bytes",
            "cache-control": f"private, max-age={keep_seconds}" if keep_seconds else "private",
            "etag": etag,
        }
        asked, head = request.headers, request.method == "HEAD"
        self._storage = storage
        self._item = item
        self._span: Span | None = Span(0, item.size)
        if unchanged(asked.get("if-none-match"), etag):
            self._span = None
            super().__init__(status_code=304, headers=headers, is_head_response=True)
            return
        part = None if head else span_of(asked.get("range"), asked.get("if-range"), etag, item.size)
        if part is not None:
            self._span = part
            headers["content-range"] = f"bytes {part.start}-{part.start + part.length - 1}/{item.size}"
        headers |= {
            "content-type": item.media_type,
            "content-length": str(self._span.length),
            "content-disposition": content_disposition(item.filename),
            "x-content-type-options": "nosniff",
        }
        super().__init__(status_code=200 if part is None else 206, headers=headers, is_head_response=head)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send it. The first bytes are read before the status is sent, so that a failing storage is a 503."""
        if self.is_head_response or self._span is None or self._span.length == 0:
            await super().__call__(scope, receive, send)
            return
        stream = self._storage.stream(self._item.key, start=self._span.start, length=self._span.length)
        async with aclosing(stream) as chunks:
            try:
                first = await anext(chunks)
            except StorageError as error:
                log.exception("content_unreadable", key=self._item.key)
                raise Unavailable(
                    "The content cannot be read at the moment. Please retry.",
                    code="content_unavailable",
                    headers={"Retry-After": "5"},
                ) from error
            await self.start_response(send)
            await _send_all(first, chunks, self._span.length, receive, send)


async def _send_all(
    first: bytes, chunks: AsyncGenerator[bytes], length: int, receive: Receive, send: Send
) -> None:
    """Send `length` bytes; stops reading when the client is gone."""
    gone = asyncio.ensure_future(_disconnected(receive))
    left = length - len(first)
    try:
        await send(_body(first, more=left > 0))
        while left > 0 and not gone.done():
            chunk = await anext(chunks)
            left -= len(chunk)
            await send(_body(chunk, more=left > 0))
    finally:
        gone.cancel()


def _body(data: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def content_disposition(filename: str) -> str:
    """Name an attachment: a plain fallback for every client, the full name in RFC 6266's form."""
    plain = "".join(each if each in _PLAIN else "_" for each in filename)
    header = f'attachment; filename="{plain}"'
    return header if plain == filename else f"{header}; filename*=UTF-8''{quote(filename, safe='')}"
