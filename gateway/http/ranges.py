"""Conditional and range requests (RFC 9110) against one object of known size and strong ETag."""

import re
from dataclasses import dataclass
from typing import Final

from gateway.errors import ApiError

_RANGE: Final = re.compile(r"bytes=\s*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))\s*", re.IGNORECASE)


class RangeNotSatisfiable(ApiError):
    """The range asked for lies outside of the file."""

    status = 416
    type = "invalid_request_error"
    default_code = "range_not_satisfiable"
    should_retry = False

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The range lies outside of the file, which has {size} bytes.",
            param="Range",
            headers={"Content-Range": f"bytes */{size}"},
        )


@dataclass(frozen=True, slots=True)
class Span:
    """The part to send: first byte and number of bytes."""

    start: int
    length: int


def unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the client's copy is current (weak comparison, as for every GET)."""
    if if_none_match is None:
        return False
    candidates = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in candidates or etag in candidates


def span_of(range_header: str | None, if_range: str | None, etag: str, size: int) -> Span | None:
    """Tell which part is asked for, None for all: also for several ranges, or a range of another version.

    RangeNotSatisfiable for one that begins beyond the end.
    """
    match = _RANGE.fullmatch(range_header or "")
    if match is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        start = size - length
    else:
        start = int(first)
        end = min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
        length = end - start + 1
    if length <= 0:
        raise RangeNotSatisfiable(size)
    return Span(start, length)
