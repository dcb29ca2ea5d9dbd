"""What an organization made, paid and waited for in a period, by group and over time: read from rollups alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import Connection, func, select

from billing.rollups import DAY_MS
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.principal import Principal
from gateway.usage.query import WIDTHS, UsageQuery
from gateway.usage.read import Row, usage_rows
from gateway.usage.timings import Span, Timings, read_timings
from gateway.videos.states import LIVE, PUBLIC
from gateway.videos.tables import videos

DIMENSIONS: Final = {"model": "model", "project": "project_id", "key": "api_key_id", "user": "user_id"}
"""What a period can be looked at by; users have rollups of their own, per day and without key, model and times."""

PERIODS: Final = {"24h": 24, "7d": 7, "30d": 30, "90d": 90, "12mo": 365}
"""Hours of the first, days of the others."""

LONGEST_DAYS: Final = 731
_NEWEST: Final = 2000  # videos of a project among which the live ones are counted


@dataclass(slots=True)
class Totals:
    """Sums of one group, or of all. Money is micro-USD, times are seconds; None where nothing was measured."""

    name: str | None
    completed: int = 0
    failed: int = 0
    billed_ms: int = 0
    revenue: int = 0
    waited: float | None = None
    rendered: float | None = None
    rendered_p95: float | None = None

    @property
    def videos(self) -> int:
        """How many ended."""
        return self.completed + self.failed

    @property
    def success(self) -> float | None:
        """The share that was completed, 0 to 1."""
        return self.completed / self.videos if self.videos else None

    def add(self, row: Row) -> None:
        """Count one group of one bucket."""
        self.completed += row.completed
        self.failed += row.failed
        self.billed_ms += row.billed_ms
        self.revenue += row.revenue


@dataclass(frozen=True, slots=True)
class Overview:
    """A period. `series` has one value per bucket for each group, of spend (micro-USD) and of videos."""

    span: Span
    dimension: str
    buckets: tuple[int, ...]
    groups: tuple[Totals, ...]
    spend: Mapping[str | None, Sequence[int]]
    videos: Mapping[str | None, Sequence[int]]
    total: Totals
    before: Totals


@dataclass(frozen=True, slots=True)
class Live:
    """Videos of a project that are not ended; `more`: there may be more than were counted."""

    queued: int
    running: int
    more: bool


@dataclass(slots=True)
class _Sums:
    groups: dict[str | None, Totals] = field(default_factory=dict)
    spend: dict[str | None, list[int]] = field(default_factory=dict)
    videos: dict[str | None, list[int]] = field(default_factory=dict)


class OverviewService:
    """Every read is scoped by the organization of the principal; the page requires the scope."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def span(self, period: str, dimension: str, filters: Mapping[str, str]) -> Span:
        """The buckets of a named period that ends now, in whole hours or UTC days. BadRequest for an unknown name."""
        if period not in PERIODS:
            raise BadRequest(f"'period' must be one of {', '.join(PERIODS)}.", param="period")
        now = self._clock.now_ms()
        width = "1h" if period == "24h" and dimension != "user" else "1d"
        length = WIDTHS[width]
        end = now - now % length + length
        count = 2 if period == "24h" and width == "1d" else PERIODS[period]
        return Span(width, end - count * length, end, filters)

    def between(self, first_day: int, last_day: int, filters: Mapping[str, str]) -> Span:
        """The days from the one that begins at `first_day` to the one that begins at `last_day` (milliseconds)."""
        first_day, last_day = first_day // DAY_MS * DAY_MS, last_day // DAY_MS * DAY_MS
        end = min(last_day + DAY_MS, self._clock.now_ms() // DAY_MS * DAY_MS + DAY_MS)
        if not first_day < end:
            raise BadRequest("The first day must lie before the last, and not in the future.", param="from")
        if end - first_day > LONGEST_DAYS * DAY_MS:
            raise BadRequest(f"Choose at most {LONGEST_DAYS} days.", param="from")
        return Span("1d", first_day, end, filters)

    async def overview(self, principal: Principal, span: Span, dimension: str) -> Overview:
        """Read a period. BadRequest for an unknown dimension."""
        if dimension not in DIMENSIONS:
            raise BadRequest(f"'by' must be one of {', '.join(DIMENSIONS)}.", param="by")
        if dimension == "user":
            kept = {name: value for name, value in span.filters.items() if name == "project_id"}
            span = replace(span, filters=kept)
        organization_id = principal.organization_id
        return await self._db.read(lambda conn: _overview(conn, organization_id, span, dimension))

    async def live(self, principal: Principal) -> Live:
        """Count what is queued and running among the newest videos of the project."""
        return await self._db.read(lambda conn: _live(conn, principal.project_id))


def _overview(conn: Connection, organization_id: str, span: Span, dimension: str) -> Overview:
    length = WIDTHS[span.width]
    buckets = tuple(range(span.start, span.end, length))
    column = DIMENSIONS[dimension]
    sums = _sums(
        usage_rows(conn, organization_id, _query(span, column), span.start, span.end), column, buckets
    )
    earlier = replace(span, start=span.start - (span.end - span.start), end=span.start)
    before, total = Totals(None), Totals(None)
    for row in usage_rows(conn, organization_id, _query(earlier, None), earlier.start, earlier.end):
        before.add(row)
    for group in sums.groups.values():
        total.add(Row(0, {}, group.completed, group.failed, group.billed_ms, group.revenue))
    if dimension != "user":
        _timed(sums.groups.values(), total, read_timings(conn, organization_id, span, column))
        _timed((), before, read_timings(conn, organization_id, earlier, None))
    groups = sorted(sums.groups.values(), key=lambda each: (-each.revenue, -each.videos, each.name or ""))
    return Overview(span, dimension, buckets, tuple(groups), sums.spend, sums.videos, total, before)


def _query(span: Span, column: str | None) -> UsageQuery:
    filters = {name: frozenset({value}) for name, value in span.filters.items()}
    group_by = () if column is None else (column,)
    return UsageQuery(span.width, span.start, span.end, span.start, 1, group_by, filters or None)


def _sums(rows: Iterable[Row], column: str, buckets: Sequence[int]) -> _Sums:
    place = {bucket: n for n, bucket in enumerate(buckets)}
    sums = _Sums(
        spend=defaultdict(lambda: [0] * len(buckets)), videos=defaultdict(lambda: [0] * len(buckets))
    )
    for row in rows:
        name, n = row.group[column], place[row.bucket]
        sums.groups.setdefault(name, Totals(name)).add(row)
        sums.spend[name][n] += row.revenue
        sums.videos[name][n] += row.completed + row.failed
    return sums


def _timed(groups: Iterable[Totals], total: Totals, timings: Timings) -> None:
    total.waited, total.rendered = timings.waited(), timings.rendered()
    total.rendered_p95 = timings.rendered(share=0.95)
    for group in groups:
        if group.name is not None:
            group.waited, group.rendered = timings.waited(group.name), timings.rendered(group.name)
            group.rendered_p95 = timings.rendered(group.name, 0.95)


def _live(conn: Connection, project_id: str) -> Live:
    newest = (
        select(videos.c.state)
        .where(videos.c.project_id == project_id, videos.c.deleted_at.is_(None))
        .order_by(videos.c.id.desc())
        .limit(_NEWEST)
        .subquery()
    )
    counted = select(newest.c.state, func.count().label("videos")).group_by(newest.c.state)
    found = {row.state: row.videos for row in conn.execute(counted)}
    queued = sum(found.get(state, 0) for state in LIVE if PUBLIC[state] == "queued")
    running = sum(found.get(state, 0) for state in LIVE if PUBLIC[state] == "in_progress")
    return Live(queued, running, more=queued + running >= _NEWEST)
