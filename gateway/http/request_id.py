"""Around every request: its id in logs and headers, its time, its count. Raw ASGI, outside of routing."""

from http import HTTPStatus
from time import perf_counter
from typing import Any, Final, cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.events import Hints
from gateway.http.health import Draining
from gateway.ids import new_id
from gateway.telemetry import Metrics
from gateway.tracing import OFF, Span, Tracing

log = structlog.get_logger(__name__)

_QUIET: Final = ("/health/", "/metrics")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLOSE: Final = ((b"connection", b"close"),)
_NO_ANSWER: Final = 499  # the connection ended before there was an answer


class RequestContext:
    """ASGI wrapper: x-request-id and openai-processing-ms on every answer, also 404, 405 and 500."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, hints: Hints, stopping: Draining, tracing: Tracing = OFF
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._hints = hints
        self._stopping = stopping
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        started = self._hints.request_at = perf_counter()
        self._metrics.request_began()
        status = _NO_ANSWER
        sending = False

        async def send_marked(message: Message) -> None:
            nonlocal status, sending
            if message["type"] == "http.response.start":
                status, sending = message["status"], True
                elapsed = str(int((perf_counter() - started) * 1000))
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", elapsed.encode()),
                    *(
                        _CLOSE if self._stopping.draining else ()
                    ),  # the next request shall find another process
                ]
            await send(message)

        tracing = OFF if scope["path"].startswith(_QUIET) else self._tracing
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            tracing.request(_traceparent(scope) if tracing.on else None) as span,
        ):
            try:
                await self._app(scope, receive, send_marked)
            finally:
                self._finish(cast("dict[str, Any]", scope), status, perf_counter() - started)
                if tracing.on:
                    _describe(span, cast("dict[str, Any]", scope), status)

    def _finish(self, scope: dict[str, Any], status: int, seconds: float) -> None:
        route = scope.get("path_template") or "unmatched"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.http_request(method, route, status, seconds)
        if not route.startswith(_QUIET):
            write = log.info if status >= HTTPStatus.BAD_REQUEST else log.debug
            write("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1))


def _traceparent(scope: Scope) -> str | None:
    """The client's trace context. Sent twice it is none at all, as W3C says."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def _describe(span: Span, scope: dict[str, Any], status: int) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = scope.get("path_template")
    span.rename(f"{method} {route}" if route else method)
    span.set({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    span.set({"onereel.request_id": scope["state"]["request_id"]})
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.failed(str(status))
