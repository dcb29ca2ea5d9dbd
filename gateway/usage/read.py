"""Usage of one organization per bucket: from the rollups, or from the videos where no rollup is fine enough."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from billing.rollups import DAYS, HOURS, USER_DAYS
from billing.tables import entries, lines
from billing.usage_tables import usage_rollups
from gateway.usage.ended import ended_videos
from gateway.usage.query import UsageQuery
from gateway.videos.tables import videos

MOST_RESULTS: Final = 2000
"""A page ends early, at the end of a bucket, rather than grow beyond this."""

MEASURES: Final = ("completed", "failed", "billed_ms", "revenue", "fees")
_COLUMNS: Final = {
    "project_id": "project_id",
    "api_key_id": "key_id",
    "model": "model",
    "user_id": "user_ref",
}
_PIECE: Final = {"1m": 240, "1h": 24, "1d": 7}  # buckets of one statement for a file
_FIRST: Final = {
    "1m": 30,
    "1h": 4,
    "1d": 1,
}  # and the first of a page: it tells how many results a bucket has


class Row(NamedTuple):
    """What one group has in one bucket. `group` is by dimension, None where a request named no user."""

    bucket: int
    group: Mapping[str, str | None]
    completed: int = 0
    failed: int = 0
    billed_ms: int = 0
    revenue: int = 0
    fees: int = 0


@dataclass(frozen=True, slots=True)
class Buckets:
    """A page: the rows of the buckets from `first` up to `end`, in order."""

    first: int
    end: int
    rows: tuple[Row, ...]


class ReadRows(Protocol):
    """`usage_rows`, or something like it."""

    def __call__(
        self, conn: Connection, organization_id: str, query: UsageQuery, start: int, end: int
    ) -> list[Row]: ...


def grain_of(query: UsageQuery) -> str | None:
    """The family of rollups that can answer, None where the videos themselves must be counted."""
    dimensions = query.dimensions - {"line_item"}
    if "user_id" not in dimensions:
        return {"1h": HOURS, "1d": DAYS}.get(query.width)
    return USER_DAYS if query.width == "1d" and dimensions <= {"user_id", "project_id"} else None


def usage_rows(conn: Connection, organization_id: str, query: UsageQuery, start: int, end: int) -> list[Row]:
    """Groups with at least one video, bucket by bucket, from `start` up to `end`."""
    grain = grain_of(query)
    source: Any
    if grain is None:
        ended = ended_videos().where(
            videos.c.completed_at >= start,
            videos.c.completed_at < end,
            videos.c.organization_id == organization_id,
        )
        source = ended.subquery()
        scoped = select().select_from(source)
        bucket = source.c.ended_at - source.c.ended_at % query.length
    else:
        source = usage_rollups
        bucket = source.c.bucket
        scoped = select().where(
            source.c.organization_id == organization_id,
            source.c.grain == grain,
            source.c.bucket >= start,
            source.c.bucket < end,
        )
    found = [_row(query, row) for row in conn.execute(_grouped(query, source, bucket, scoped))]
    return sorted(found, key=in_order)  # here and not there: the order of text is the same on both databases


def _grouped(query: UsageQuery, source: Any, bucket: ColumnElement[Any], scoped: Select[Any]) -> Select[Any]:
    dimensions = [source.c[_COLUMNS[name]] for name in query.group_by]
    sums = [func.sum(source.c[name]).label(name) for name in MEASURES]
    statement = scoped.add_columns(bucket.label("bucket"), *dimensions, *sums)
    for name, allowed in (query.filters or {}).items():
        if name in _COLUMNS:
            statement = statement.where(source.c[_COLUMNS[name]].in_(sorted(allowed)))
    return statement.group_by(bucket, *dimensions)


def in_order(row: Row) -> tuple[int, tuple[str, ...]]:
    """By time, then by group."""
    return row.bucket, tuple(name or "" for name in row.group.values())


def _row(query: UsageQuery, row: Any) -> Row:
    last = 1 + len(query.group_by)
    group = {name: value or None for name, value in zip(query.group_by, row[1:last], strict=True)}
    return Row(int(row[0]), group, *map(int, row[last:]))


def other_charges(conn: Connection, organization_id: str, start: int, end: int, length: int) -> list[Row]:
    """What was charged beside videos: entries of other kinds that touch revenue, grouped by `line_item`."""
    bucket = entries.c.created_at - entries.c.created_at % length
    item = case((entries.c.kind == "adjust", "adjustment"), else_=entries.c.kind)
    found = conn.execute(
        select(bucket, item, func.sum(lines.c.amount))
        .join(lines, lines.c.entry_id == entries.c.id)
        .where(
            entries.c.organization_id == organization_id,
            entries.c.kind.not_in(("hold", "capture", "release")),
            entries.c.created_at >= start,
            entries.c.created_at < end,
            lines.c.account == "revenue",
        )
        .group_by(bucket, item)
        .order_by(bucket, item)
    )
    return [Row(int(row[0]), {"line_item": row[1]}, revenue=int(row[2])) for row in found]


def pieces(query: UsageQuery) -> Iterator[tuple[int, int]]:
    """Cut the range into what one statement reads for a file."""
    step = _PIECE[query.width] * query.length
    for start in range(query.first, query.end, step):
        yield start, min(start + step, query.end)


def read_page(
    conn: Connection, organization_id: str, query: UsageQuery, read: ReadRows, *, most: int = MOST_RESULTS
) -> Buckets:
    """At most `limit` buckets, fewer where they hold more than `most` results.

    Read in pieces as large as what came before promises, so that nothing large is made only to be cut.
    """
    end = min(query.end, query.first + query.limit * query.length)
    rows: list[Row] = []
    start, buckets = query.first, _FIRST[query.width] if query.group_by else query.limit
    while start < end:
        until = min(end, start + buckets * query.length)
        rows += read(conn, organization_id, query, start, until)
        if len(rows) > most:
            cut = rows[most].bucket
            end = cut if cut > query.first else cut + query.length
            return Buckets(query.first, end, tuple(row for row in rows if row.bucket < end))
        start, done = until, (until - query.first) // query.length
        buckets = (most - len(rows)) * done // len(rows) if rows else 8 * done
        if not buckets:  # the next one would hardly fit
            end = start
    return Buckets(query.first, end, tuple(rows))
