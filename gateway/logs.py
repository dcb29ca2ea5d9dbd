"""Structured logs on stderr: JSON lines with request, video and trace ids, and without secrets or prompts."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from io import StringIO
from typing import Any, Final, Literal, TextIO

import structlog

from gateway import tracing
from gateway.redaction import HIDDEN, is_secret, redacted, scrubbed

_RENDERED: Final = ("exc_info", "stack_info")  # by a later processor, which hides by itself
# Local variables in a traceback would write down prompts and keys.
_TRACEBACK: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)


def _hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Take secrets and prompts out of the whole line, the exception on it included."""
    for name, value in event.items():
        if name not in _RENDERED:
            event[name] = HIDDEN if name != "event" and is_secret(name) else redacted(value)
    return event


def _plain_traceback(file: TextIO, error: Any) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, error)
    file.write(scrubbed(text.getvalue()))


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
    ]
    renderer: list[structlog.types.Processor] = (
        [
            structlog.processors.ExceptionRenderer(_TRACEBACK),
            _hide_secrets,
            structlog.processors.JSONRenderer(default=str),
        ]
        if log_format == "json"
        else [
            _hide_secrets,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_plain_traceback),
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
