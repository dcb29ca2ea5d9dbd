"""Structured logs on stderr: JSON lines with request, video and trace ids, and without secrets or prompts."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, TextIO

import structlog

from gateway import tracing

_SECRET_WORDS: Final = (
    "authorization",
    "api_key",
    "token",
    "secret",
    "password",
    "credential",
    "cookie",
    "prompt",
)

# Local variables in a traceback would write down prompts and keys.
_TRACEBACK: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)


def _hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Blank values whose name says that they must not be written down."""
    for name in event:
        if name != "event" and any(word in name.lower() for word in _SECRET_WORDS):
            event[name] = "[hidden]"
    return event


def _trace_ids(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Name the trace that the line belongs to."""
    span = tracing.current()
    if span.trace_id is not None:
        event["trace_id"], event["span_id"] = span.trace_id, span.span_id
    return event


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self.stream = sys.stderr
        super().emit(record)


def configure_logging(log_format: Literal["json", "console"], level: str) -> None:
    """Send structlog and the standard library through one renderer to stderr."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_ids,
        _hide_secrets,
    ]
    renderer: list[structlog.types.Processor] = (
        [structlog.processors.ExceptionRenderer(_TRACEBACK), structlog.processors.JSONRenderer(default=str)]
        if log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # of the moment: it may be redirected
        cache_logger_on_first_use=False,
    )
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in ("httpx", "httpcore", "aiohttp.access", "uvicorn.access", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def video_context(video_id: str) -> AbstractContextManager[None]:
    """Put the video id on every log line of the block."""
    return structlog.contextvars.bound_contextvars(video_id=video_id)
