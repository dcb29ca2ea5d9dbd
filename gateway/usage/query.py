"""What a usage report is asked for, checked: whole UTC buckets, dimensions, filters, and the place of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from billing.rollups import DAY_MS, HOUR_MS
from gateway.errors import BadRequest

MINUTE_MS: Final = 60_000
WIDTHS: Final = {"1m": MINUTE_MS, "1h": HOUR_MS, "1d": DAY_MS}
LATEST: Final = 253_402_300_799
"""Unix seconds of the last moment of the year 9999."""

MOST_VALUES: Final = 100
_LONGEST_VALUE: Final = 256
_CURSOR: Final = "page_"


@dataclass(frozen=True, slots=True)
class Report:
    """One kind of report: how it may be grouped and filtered, and (default, most) buckets on a page by width."""

    group_by: tuple[str, ...]
    filters: Mapping[str, str]
    limits: Mapping[str, tuple[int, int]]


FILTERS: Final = {
    "project_ids": "project_id",
    "api_key_ids": "api_key_id",
    "models": "model",
    "user_ids": "user_id",
}
USAGE: Final = Report(
    ("project_id", "api_key_id", "model", "user_id"),
    FILTERS,
    {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)},
)
COSTS: Final = Report(
    ("project_id", "api_key_id", "model", "user_id", "line_item"),
    {**FILTERS, "line_items": "line_item"},
    {"1h": (24, 168), "1d": (7, 180)},
)
LONGEST_EXPORT: Final = {"1m": 31 * DAY_MS, "1h": 366 * DAY_MS, "1d": 3660 * DAY_MS}


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Buckets from `start` up to `end` (milliseconds, whole buckets) of which a page shows `limit` from `first` on.

    `filters` are allowed values by dimension.
    """

    width: str
    start: int
    end: int
    first: int
    limit: int
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, frozenset[str]] | None = None

    @property
    def length(self) -> int:
        """Milliseconds of one bucket."""
        return WIDTHS[self.width]

    @property
    def dimensions(self) -> frozenset[str]:
        """Everything that tells one video from another here."""
        return frozenset(self.group_by) | frozenset(self.filters or ())

    def grouped(self, *names: str) -> "UsageQuery":
        """The same by other dimensions."""
        return replace(self, group_by=names)


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters as they came: lists may be repeated, in brackets or separated by commas."""

    start_time: int
    end_time: int | None = None
    bucket_width: str = "1d"
    limit: int | None = None
    page: str | None = None
    lists: Mapping[str, Sequence[str]] | None = None


def parse(report: Report, asked: Asked, now_ms: int, *, whole: bool = False) -> UsageQuery:
    """Check what is asked. BadRequest names the parameter. `whole` is for a file, which has no pages."""
    if asked.bucket_width not in report.limits:
        raise BadRequest(
            f"Invalid value for 'bucket_width': use {' or '.join(report.limits)}.", param="bucket_width"
        )
    length = WIDTHS[asked.bucket_width]
    if asked.end_time is not None and asked.end_time <= asked.start_time:
        raise BadRequest("'end_time' must lie after 'start_time'.", param="end_time")
    start = asked.start_time * 1000 // length * length
    until = now_ms + 1 if asked.end_time is None else min(asked.end_time * 1000, now_ms + 1)
    end = max(start, -(-until // length) * length)  # nothing has happened in buckets to come
    lists = asked.lists or {}
    query = UsageQuery(
        asked.bucket_width,
        start,
        end,
        first=start,
        limit=_limit(report, asked),
        group_by=_group_by(report, lists.get("group_by", ())),
        filters={
            dimension: frozenset(_values(name, lists[name]))
            for name, dimension in report.filters.items()
            if lists.get(name)
        },
    )
    if whole:
        return _for_file(query, asked)
    return query if asked.page is None else replace(query, first=_place(query, asked.page))


def cursor(first: int) -> str:
    """Name the page that begins with this bucket."""
    return f"{_CURSOR}{first // 1000}"


def _limit(report: Report, asked: Asked) -> int:
    default, most = report.limits[asked.bucket_width]
    if asked.limit is None:
        return default
    if not 1 <= asked.limit <= most:
        raise BadRequest(
            f"Invalid value for 'limit': with bucket_width {asked.bucket_width} use 1 to {most}.",
            param="limit",
        )
    return asked.limit


def _group_by(report: Report, names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in report.group_by:
            raise BadRequest(
                f"Invalid value for 'group_by': use any of {', '.join(report.group_by)}.", param="group_by"
            )
    return tuple(dict.fromkeys(names))


def _values(name: str, values: Sequence[str]) -> Sequence[str]:
    if len(values) > MOST_VALUES or any(not 0 < len(value) <= _LONGEST_VALUE for value in values):
        raise BadRequest(
            f"Invalid value for '{name}': send up to {MOST_VALUES} values of 1 to {_LONGEST_VALUE} characters.",
            param=name,
        )
    return values


def _place(query: UsageQuery, page: str) -> int:
    digits = page.removeprefix(_CURSOR)
    if page.startswith(_CURSOR) and digits.isascii() and digits.isdecimal() and len(digits) < 13:
        first = int(digits) * 1000
        if query.start <= first < query.end and (first - query.start) % query.length == 0:
            return first
    raise BadRequest(
        "Invalid value for 'page': send 'next_page' of the answer before, with the same times and bucket_width.",
        param="page",
    )


def _for_file(query: UsageQuery, asked: Asked) -> UsageQuery:
    for name, value in (("limit", asked.limit), ("page", asked.page)):
        if value is not None:
            raise BadRequest(f"A file has the whole range: leave out '{name}'.", param=name)
    longest = LONGEST_EXPORT[query.width]
    if query.end - query.start > longest:
        raise BadRequest(
            f"A file with bucket_width {query.width} covers at most {longest // DAY_MS} days: "
            "choose a later start_time or wider buckets.",
            param="start_time",
        )
    return query


def refuse_grouping(query: UsageQuery, what: str) -> None:
    """BadRequest where a file has its own dimensions."""
    if query.group_by:
        raise BadRequest(f"format={what} has dimensions of its own: leave out 'group_by'.", param="group_by")
