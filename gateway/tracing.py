"""OpenTelemetry traces: one for each video, over every process that works on it. Off unless `tracing.endpoint` is set.

The only door to opentelemetry; its SDK is imported where tracing is on and nowhere else. A video's row keeps the
`traceparent` of the request that made it; whoever claims its job later goes on from there. Spans name things by id
(video, model, upstream, attempt, outcome); prompts, keys and messages of errors are never on them.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from threading import Timer
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from gateway.settings import Tracing as TracingSettings

log = structlog.get_logger(__name__)

Value = str | int | float | bool
Kind = Literal["internal", "server", "client", "producer"]

_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_CLOSE_SECONDS: Final = 2.0
_EXPORT_SECONDS: Final = 3.0
_QUEUE: Final = 8192  # spans; what comes beyond is dropped, never waited for
_SAMPLED: Final = 1


class Span:
    """A span that records nothing: tracing is off, or nothing is traced here."""

    traceparent: str | None = None
    trace_id: str | None = None
    span_id: str | None = None

    def set(self, attributes: Mapping[str, Value | None]) -> None:
        """Add attributes; None is left out."""

    def rename(self, name: str) -> None:
        """Give it another name: what a request is, is known when it is routed."""

    def failed(self, why: str) -> None:
        """Mark it as an error, by a name: messages may say what is secret."""

    def child(self, _name: str, _kind: Kind, _attributes: Mapping[str, Value | None]) -> "Span":
        """Begin a span within it."""
        return self

    def end(self) -> None:
        """End it now."""


_NO_SPAN: Final = Span()
_NOTHING: Final[AbstractContextManager[Span]] = nullcontext(_NO_SPAN)
_CURRENT: Final[ContextVar[Span]] = ContextVar("onereel_span", default=_NO_SPAN)


def current() -> Span:
    """Give the span that this code runs in."""
    return _CURRENT.get()


def carried() -> str | None:
    """Give the `traceparent` of the current span, to be kept or passed on; None where nothing is traced."""
    return _CURRENT.get().traceparent


def annotate(**attributes: Value | None) -> None:
    """Put `onereel.*` attributes on the current span."""
    _CURRENT.get().set(ours(attributes))


def ours(attributes: Mapping[str, Value | None]) -> dict[str, Value | None]:
    """Name attributes of ours as OpenTelemetry wants them: in a space of their own."""
    return {f"onereel.{name}": value for name, value in attributes.items()}


def span(name: str, kind: Kind = "internal", **attributes: Value | None) -> AbstractContextManager[Span]:
    """Enclose a part of what is traced already; elsewhere it is nothing."""
    within = _CURRENT.get()
    if within is _NO_SPAN:
        return _NOTHING
    return _entered(within.child(name, kind, ours(attributes)))


class Tracing:
    """The traces of one process that does not trace."""

    on = False

    def request(self, traceparent: str | None) -> AbstractContextManager[Span]:
        """Enclose an HTTP request: it goes on with the client's trace, or begins one."""
        del traceparent
        return _NOTHING

    def resumed(
        self, trace: str | None, name: str, **attributes: Value | None
    ) -> AbstractContextManager[Span]:
        """Enclose work for a video whose row keeps `trace`; a video accepted without one is not traced."""
        del trace, name, attributes
        return _NOTHING

    async def close(self) -> None:
        """Send what is left, for some seconds at most."""


OFF: Final = Tracing()


def open_tracing(settings: "TracingSettings", count: Callable[[str, int], None]) -> Tracing:
    """Make the traces of this process. `count` is told how many spans were "exported", or "failed" to be."""
    if not settings.endpoint:
        return OFF
    return _Exporting(settings, count)


@contextmanager
def _entered(entered: Span) -> Iterator[Span]:
    token = _CURRENT.set(entered)
    try:
        yield entered
    except BaseException as error:
        entered.failed(type(error).__name__)
        raise
    finally:
        _CURRENT.reset(token)
        entered.end()


class _Recorded(Span):
    """A span of the SDK."""

    def __init__(
        self, tracer: Any, name: str, kind: Kind, context: Any, attributes: Mapping[str, Any]
    ) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        self._tracer = tracer
        self._span = tracer.start_span(
            name, context=context, kind=SpanKind[kind.upper()], attributes=_known(attributes)
        )
        made = self._span.get_span_context()
        self.trace_id, self.span_id = f"{made.trace_id:032x}", f"{made.span_id:016x}"
        self.traceparent = f"00-{self.trace_id}-{self.span_id}-{made.trace_flags & _SAMPLED:02x}"

    def set(self, attributes: Mapping[str, Value | None]) -> None:
        self._span.set_attributes(_known(attributes))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def failed(self, why: str) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415

        self._span.set_attribute("error.type", why)
        self._span.set_status(StatusCode.ERROR)

    def child(self, name: str, kind: Kind, attributes: Mapping[str, Value | None]) -> Span:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

        return _Recorded(self._tracer, name, kind, set_span_in_context(self._span), attributes)

    def end(self) -> None:
        self._span.end()


class _Exporting(Tracing):
    """The traces of one process, sent to an OTLP/HTTP collector by a thread of the SDK's own."""

    on = True

    def __init__(self, settings: "TracingSettings", count: Callable[[str, int], None]) -> None:
        self._exporter = _exporter(settings, count)
        self._provider = _provider(settings, self._exporter)
        self._tracer = self._provider.get_tracer("onereel")

    def request(self, traceparent: str | None) -> AbstractContextManager[Span]:
        return _entered(_Recorded(self._tracer, "HTTP", "server", _remote(traceparent), {}))

    def resumed(
        self, trace: str | None, name: str, **attributes: Value | None
    ) -> AbstractContextManager[Span]:
        context = _remote(trace)
        if context is None:
            return _NOTHING
        return _entered(_Recorded(self._tracer, name, "internal", context, ours(attributes)))

    async def close(self) -> None:
        late = Timer(_CLOSE_SECONDS, self._exporter.shutdown)
        late.daemon = True
        late.start()
        try:
            await asyncio.to_thread(self._provider.shutdown)
        finally:
            late.cancel()


def _known(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}


def _remote(traceparent: str | None) -> Any:
    """The context that a `traceparent` names; None for none, or for one that is not W3C's."""
    from opentelemetry.trace import (  # noqa: PLC0415
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    found = _TRACEPARENT.fullmatch((traceparent or "").strip())
    if found is None or (found[1] == "00" and found[5]):
        return None
    flags = TraceFlags(int(found[4], 16) & _SAMPLED)
    parent = SpanContext(int(found[2], 16), int(found[3], 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent))


def _provider(settings: "TracingSettings", exporter: "SpanExporter") -> "TracerProvider":
    from importlib.metadata import version  # noqa: PLC0415

    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    # The ratio looks at the trace's id alone, so every process decides alike; what a client wishes can only lower it.
    by_id = TraceIdRatioBased(settings.sample_ratio)
    named = {
        "service.version": version("onereel"),
        "service.instance.id": f"{os.uname().nodename}-{os.getpid()}",
    }
    if "OTEL_SERVICE_NAME" not in os.environ:
        named["service.name"] = "onereel"
    provider = TracerProvider(
        sampler=ParentBased(by_id, remote_parent_sampled=by_id),
        resource=Resource.create(named),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE))
    return provider


def _traces_url(endpoint: str) -> str:
    """As OTEL_EXPORTER_OTLP_ENDPOINT: the collector's address; one that names the path is taken as it is."""
    base = endpoint.rstrip("/")
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"


def _headers(text: str) -> dict[str, str]:
    """As OTEL_EXPORTER_OTLP_HEADERS: name=value, with commas between, percent-encoded where needed."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {unquote(name.strip()).lower(): unquote(value.strip()) for name, _, value in pairs}


def _exporter(settings: "TracingSettings", count: Callable[[str, int], None]) -> "SpanExporter":
    """To the collector. It tells what became of the spans; whatever breaks in it stays in it."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415

    sent = OTLPSpanExporter(
        endpoint=_traces_url(str(settings.endpoint)),
        headers=_headers(settings.headers.get_secret_value()) if settings.headers is not None else None,
        timeout=_EXPORT_SECONDS,
    )

    class Counted(SpanExporter):
        closed = False

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            result = SpanExportResult.FAILURE
            if not self.closed:
                try:
                    result = sent.export(spans)
                except Exception as error:
                    log.warning("trace_export_failed", error=type(error).__name__)
            count("exported" if result is SpanExportResult.SUCCESS else "failed", len(spans))
            return result

        def shutdown(self) -> None:
            if not self.closed:
                self.closed = True
                sent.shutdown()  # type: ignore[no-untyped-call]  # untyped in the library

    return Counted()
