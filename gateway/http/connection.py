"""One client's connection: what uvicorn leaves open is bounded here.

A request's head must come whole within `header_seconds` and 64 KiB, and so must what is left of a body that was answered
before its end. What is no HTTP at all gets our envelope, too.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.errors import envelope
from gateway.ids import new_id

HEAD_BYTES: Final = 64 * 1024
_TOO_LARGE: Final = f"The request's address and headers are larger than {HEAD_BYTES} bytes in all."
_TOO_LATE: Final = "The request's headers did not arrive in time."
_MALFORMED: Final = "This is not a valid HTTP/1.1 request."


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with an end to waiting; `header_seconds` as in `Limits`."""

    def __init__(self, *args: Any, header_seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_seconds = header_seconds
        self._in_head = False
        self._head_bytes = 0  # of a head that came in pieces
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a client may open a connection before it needs it, as long as one may be kept."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; while nothing is being answered, only for so long."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE, "headers_too_large")
                return
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._late = self.loop.call_later(self._header_seconds, self._too_late)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Begin the answer. ValueError, which the parser hands on, for a head that came at once and is too large."""
        self._in_head = False
        self._in_time()
        self._head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if self._head_bytes > HEAD_BYTES:
            raise ValueError(_TOO_LARGE)
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Answer what is no HTTP, in our own form."""
        if self._head_bytes > HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE, "headers_too_large")
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, _MALFORMED, "invalid_http")

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, _TOO_LATE, "request_timeout")
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, message: str, code: str) -> None:
        """Answer and close; only close where another answer is under way: this one would fall in its midst."""
        cycle = self.cycle
        answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if not answering and not self.pipeline:
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True  # what it would say comes too late
                cycle.message_event.set()
            body = json.dumps(envelope(message, type_="invalid_request_error", code=code)).encode()
            head = (
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {new_id('req')}\r\n"
                "x-should-retry: false\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()
