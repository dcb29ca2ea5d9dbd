"""Reading what an upstream answered: bodies, error classes, retry times. Pure, no I/O."""

import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

from providers.contract import Content, ErrorKind, ProviderError, ReportedCost

MAX_MESSAGE_CHARS: Final = 300

_BY_STATUS: Final = {
    400: ErrorKind.INVALID_REQUEST,
    401: ErrorKind.PROVIDER_AUTH,
    402: ErrorKind.PROVIDER_FUNDS,
    403: ErrorKind.PROVIDER_AUTH,
    404: ErrorKind.JOB_LOST,
    408: ErrorKind.PROVIDER_UNAVAILABLE,
    410: ErrorKind.JOB_LOST,
    413: ErrorKind.INVALID_REQUEST,
    415: ErrorKind.INVALID_REQUEST,
    422: ErrorKind.INVALID_REQUEST,
    429: ErrorKind.RATE_LIMITED,
}
_BY_CODE: Final = {
    "insufficient_quota": ErrorKind.PROVIDER_FUNDS,
    "billing_hard_limit_reached": ErrorKind.PROVIDER_FUNDS,
    "invalid_api_key": ErrorKind.PROVIDER_AUTH,
    "concurrency_limit_exceeded": ErrorKind.CONCURRENCY_LIMITED,
    "cancelled": ErrorKind.CANCELLED,
    "canceled": ErrorKind.CANCELLED,
    "out_of_memory": ErrorKind.OUT_OF_MEMORY,
    "model_not_found": ErrorKind.MODEL_RETIRED,
    "model_retired": ErrorKind.MODEL_RETIRED,
}
_MODERATION: Final = re.compile(
    r"moderation|content_policy|content_filter|sentinel_block|safety", re.IGNORECASE
)
_TEXTUAL: Final = re.compile(r"^text/|json$|xml$")
_SECRET_CHARS: Final = 8  # of a credential of several parts: a shorter one is a region or the like
_SECRET: Final = re.compile(r"(?i)\bbearer\s+\S+|\bsk-[\w-]{8,}")


@dataclass(slots=True)
class Response:
    """A complete answer. `secret` is what must never be repeated in a message."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    secret: str = field(default="", repr=False)

    def json(self) -> Any:
        """Decode the body; ProviderError (provider_error, ambiguous) if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ProviderError(
                ErrorKind.PROVIDER_ERROR,
                "the upstream's answer is not readable JSON",
                ambiguous=True,
                http_status=self.status,
            ) from error

    def object(self) -> dict[str, Any]:
        """Decode the body, which must be a JSON object."""
        value = self.json()
        if isinstance(value, dict):
            return value
        raise ProviderError(
            ErrorKind.PROVIDER_ERROR,
            "the upstream's answer is not a JSON object",
            ambiguous=True,
            http_status=self.status,
        )


Errors = Callable[[Response], ProviderError | None]
"""Says which error a whole answer is, None for a good one."""


def refused(response: Response) -> ProviderError | None:
    """The error of anything but a 2xx."""
    return None if 200 <= response.status < 300 else error_from(response)


def error_from(response: Response) -> ProviderError:
    """The error an answer stands for: 5xx are temporary, else the code decides, then the status."""
    message, code = _envelope(response)
    kind = kind_of(code) or _BY_STATUS.get(response.status)
    if response.status >= 500 or kind is None:
        kind = ErrorKind.PROVIDER_UNAVAILABLE if response.status >= 500 else ErrorKind.PROVIDER_ERROR
    return ProviderError(
        kind,
        clean(message, response.secret) or f"the upstream answered HTTP {response.status}",
        ambiguous=response.status >= 500 or response.status == 408,
        retry_after=retry_after(response.headers),
        http_status=response.status,
        upstream_code=code,
    )


@contextlib.contextmanager
def creating() -> Iterator[None]:
    """Around a create: there is no job to lose yet, so a 404 speaks of the model."""
    try:
        yield
    except ProviderError as error:
        if error.kind is ErrorKind.JOB_LOST:
            error.kind = ErrorKind.MODEL_RETIRED
        raise


@contextlib.contextmanager
def before_create() -> Iterator[None]:
    """Around what a create needs first (an upload, a look at its source): whatever fails there, no job was made."""
    try:
        yield
    except ProviderError as error:
        error.ambiguous = False
        raise


@contextlib.contextmanager
def gone_is_fine() -> Iterator[None]:
    """Around a cancel: a job that is not there needs none."""
    try:
        yield
    except ProviderError as error:
        if error.kind is not ErrorKind.JOB_LOST:
            raise


async def nothing_found(asked: Awaitable[Any]) -> str:
    """For an adapter's `check`: it reads a job that nobody made, and that there is none proves address and credential."""
    with gone_is_fine():
        await asked
    return "address and credential work"


def required(body: Any, *path: str) -> str:
    """The id or address at a path of keys of a create's answer. Without it the create is ambiguous."""
    value = found(body, *path)
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return str(value)
    raise ProviderError(
        ErrorKind.PROVIDER_ERROR,
        f"the upstream's answer to the create has no {'.'.join(path)}",
        ambiguous=True,
    )


def decoded(body: bytes) -> Any:
    """The JSON in a body, None for what is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def found(body: Any, *path: str | int) -> Any:
    """The value at a path of keys and indexes in decoded JSON, None where there is none."""
    for step in path:
        if isinstance(body, list) and isinstance(step, int):
            body = body[step] if -len(body) <= step < len(body) else None
        else:
            body = body.get(step) if isinstance(body, dict) else None
    return body


def kind_of(code: str | None) -> ErrorKind | None:
    """The error class of an upstream's error code, None for one that says nothing."""
    if code is None:
        return None
    if _MODERATION.search(code):
        return ErrorKind.MODERATION_BLOCKED
    return _BY_CODE.get(code.lower())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from retry-after-ms or Retry-After (seconds or an HTTP date); None if unsaid."""
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def poll_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the next poll as OpenAI's openai-poll-after-ms says, None if unsaid."""
    millis = _number(headers.get("openai-poll-after-ms"))
    return None if millis is None else millis / 1000


def percent(value: Any) -> int | None:
    """A progress value as 0..100, None where there is none."""
    return max(0, min(100, int(value))) if isinstance(value, int | float) else None


def percent_of_one(value: Any) -> int | None:
    """A progress value of 0..1 as 0..100, None where there is none."""
    return percent(value * 100) if isinstance(value, int | float) else None


def reported_cost(video: Mapping[str, Any]) -> ReportedCost | None:
    """What a video object says it cost in USD: `cost`, `cost.amount`, `usage.cost` or `usage.cost.amount`."""
    usage = video.get("usage")
    cost = video.get("cost") or (usage.get("cost") if isinstance(usage, Mapping) else None)
    amount = cost.get("amount") if isinstance(cost, Mapping) else cost
    try:
        return None if amount is None else ReportedCost(round(Decimal(str(amount)) * 1_000_000), str(amount))
    except (InvalidOperation, ValueError, OverflowError):
        return None


def cost_in(currency: Literal["USD", "CNY", "credit"], amount: Any) -> ReportedCost | None:
    """A cost as the upstream counts it, None where it names no number."""
    try:
        value = None if amount is None or isinstance(amount, bool) else Decimal(str(amount))
    except InvalidOperation:
        return None
    if value is None or not value.is_finite() or value < 0:
        return None
    return ReportedCost(None, f"{amount} {currency}", value, currency)


def gpu_seconds(video: Mapping[str, Any]) -> Decimal | None:
    """How long a video object says the device was busy with it: `usage.gpu_seconds`."""
    usage = video.get("usage")
    value = usage.get("gpu_seconds") if isinstance(usage, Mapping) else None
    try:
        seconds = None if value is None or isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        return None
    return seconds if seconds is not None and seconds.is_finite() and seconds >= 0 else None


async def video_only(content: Content) -> Content:
    """Refuse what is no video at all before it is stored: an empty body, an error page."""
    chunks = content.chunks
    first = await anext(chunks, b"")
    if not first or _TEXTUAL.search(content.media_type):
        raise ProviderError(ErrorKind.PROVIDER_ERROR, "the upstream completed without a video")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return replace(content, chunks=whole())


def clean(message: str, secret: str = "") -> str:  # nosec B107 # without one
    """A message fit to be stored and shown: one bounded line, no markup page, no credential."""
    text = message.strip()
    if text.startswith("<"):
        return ""
    for part in (secret, *(each for each in secret.split(":") if len(each) >= _SECRET_CHARS)):
        text = text.replace(part, "[credential]") if part else text
    text = _SECRET.sub("[credential]", " ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def described(error: Any) -> tuple[str, str | None]:
    """Message and code of an error object in any of the usual shapes (object, text, nothing)."""
    if isinstance(error, str):
        return error, None
    if not isinstance(error, dict):
        return "", None
    code = error.get("code") or error.get("type")
    message = error.get("message") or error.get("detail") or ""
    return str(message), None if code is None else str(code)


def _envelope(response: Response) -> tuple[str, str | None]:
    try:
        body = json.loads(response.body)
    except ValueError:
        return response.body[: 4 * MAX_MESSAGE_CHARS].decode("utf-8", "replace"), None
    if not isinstance(body, dict):
        return body if isinstance(body, str) else "", None
    if body.get("error") and body.get("error_description"):  # OAuth
        return str(body["error_description"]), str(body["error"])
    return described(body["error"] if body.get("error") else body)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < 1e9 else None
