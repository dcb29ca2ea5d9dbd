"""What we charged beside what we expected to pay and what the upstream says it charged, per day and per video.

For the operator: it spans every organization. Money is micro-USD here and decimal text in the answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, case, func, literal, select, tuple_

from billing.money import format_usd
from billing.rollups import DAY_MS
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.jobs.tables import attempts
from gateway.usage.query import Asked, Report, UsageQuery, cursor, parse
from gateway.usage.view import encoded_page
from gateway.videos.states import PUBLIC, State
from gateway.videos.tables import videos

Json = dict[str, Any]
FILTERS: Final = {"organization_ids": "organization_id", "models": "model"}
DAYS: Final = Report((), FILTERS, {"1d": (7, 31)})
VIDEOS: Final = Report((), FILTERS, {"1d": (100, 1000)})
_CURSOR: Final = "page_"
_FAILED: Final = videos.c.state == State.FAILED
_DELIVERED: Final = case((attempts.c.state == "completed", attempts.c.estimate_micros))
_DELIVERER: Final = case((attempts.c.state == "completed", attempts.c.upstream))
_REPORTED: Final = case((attempts.c.cost_source == "reported", attempts.c.cost_micros))


@dataclass(frozen=True, slots=True)
class Place:
    """The last video of a page: the next one starts after it."""

    completed_at: int
    video_id: str


class Reconciliation:
    """The handler requires the scope `operator`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def days(self, asked: Asked) -> bytes:
        """One page of UTC days."""
        query = parse(DAYS, asked, self._clock.now_ms())
        end = min(query.end, query.first + query.limit * DAY_MS)
        found = await self._db.read(partial(_days, query=query, end=end))
        data = [
            {
                "object": "bucket",
                "start_time": start // 1000,
                "end_time": (start + DAY_MS) // 1000,
                "results": [found[start]] if start in found else [],
            }
            for start in range(query.first, end, DAY_MS)
        ]
        return encoded_page(data, cursor(end) if end < query.end else None)

    async def videos(self, asked: Asked, *, different: bool = False) -> bytes:
        """One page of videos in the order they ended; `different` leaves out those that cost what was expected."""
        place = None if asked.page is None else place_of(asked.page)
        unpaged = Asked(asked.start_time, asked.end_time, limit=asked.limit, lists=asked.lists)
        query = parse(VIDEOS, unpaged, self._clock.now_ms())
        rows = await self._db.read(partial(_videos, query=query, place=place, different=different))
        shown = rows[: query.limit]
        more = len(rows) > query.limit
        next_page = f"{_CURSOR}{shown[-1].ended_at}_{shown[-1].id}" if more else None
        return encoded_page([_video(row) for row in shown], next_page)


def place_of(page: str) -> Place:
    """Read a cursor. BadRequest for anything else."""
    digits, _, video_id = page.removeprefix(_CURSOR).partition("_")
    if not page.startswith(_CURSOR) or not (digits.isascii() and digits.isdecimal() and len(digits) < 16):
        raise BadRequest("Invalid value for 'page': send 'next_page' of the answer before.", param="page")
    return Place(int(digits), video_id)


def _ended(query: UsageQuery, start: int, end: int) -> Select[Any]:
    """One row per video that ended in the range: charged, quoted, estimated, reported."""
    conditions: list[ColumnElement[bool]] = [videos.c.completed_at >= start, videos.c.completed_at < end]
    filters: Mapping[str, frozenset[str]] = query.filters or {}
    conditions += [videos.c[name].in_(sorted(allowed)) for name, allowed in filters.items()]
    return (
        select(
            videos.c.id,
            videos.c.organization_id,
            videos.c.project_id,
            videos.c.model,
            videos.c.state,
            videos.c.completed_at.label("ended_at"),
            func.coalesce(videos.c.cost_micros, 0).label("charged"),
            videos.c.hold_micros.label("quoted"),
            # nothing is expected of an upstream that made nothing
            case((_FAILED, 0), else_=func.max(_DELIVERED)).label("estimated"),
            func.sum(_REPORTED).label("reported"),
            func.coalesce(func.max(_DELIVERER), func.max(attempts.c.upstream)).label("upstream"),
        )
        .outerjoin(attempts, attempts.c.video_id == videos.c.id)
        .where(*conditions)
        .group_by(videos.c.id)
    )


def _days(conn: Connection, query: UsageQuery, end: int) -> dict[int, Json]:
    each = _ended(query, query.first, end).subquery()
    bucket = each.c.ended_at - each.c.ended_at % DAY_MS
    failed = each.c.state == State.FAILED
    known = each.c.estimated.is_not(None) & each.c.reported.is_not(None)
    rows = conn.execute(
        select(
            bucket.label("bucket"),
            func.count().label("ended"),
            func.sum(case((failed, 1), else_=0)).label("failed"),
            func.count(each.c.reported).label("num_reported"),
            func.sum(each.c.charged).label("charged"),
            func.sum(each.c.quoted).label("quoted"),
            func.sum(each.c.estimated).label("estimated"),
            func.sum(each.c.reported).label("reported"),
            func.sum(case((known, each.c.reported - each.c.estimated))).label("difference"),
        ).group_by(bucket)
    )
    return {int(row.bucket): _day(row) for row in rows}


def _day(row: Any) -> Json:
    return {
        "object": "billing.reconciliation.day",
        "num_videos": int(row.ended) - int(row.failed),
        "num_failed": int(row.failed),
        "num_reported": int(row.num_reported),
        **_money(row, row.difference),
    }


def _videos(conn: Connection, query: UsageQuery, place: Place | None, *, different: bool) -> Sequence[Any]:
    statement = _ended(query, query.start, query.end)
    at = tuple_(videos.c.completed_at, videos.c.id)
    if place is not None:
        statement = statement.where(at > tuple_(literal(place.completed_at), literal(place.video_id)))
    if different:
        expected = case((_FAILED, 0), else_=func.coalesce(func.max(_DELIVERED), -1))
        statement = statement.having(func.sum(_REPORTED) != expected)
    return conn.execute(statement.order_by(videos.c.completed_at, videos.c.id).limit(query.limit + 1)).all()


def _video(row: Any) -> Json:
    known = row.reported is not None and row.estimated is not None
    return {
        "object": "billing.reconciliation.video",
        "id": row.id,
        "organization_id": row.organization_id,
        "project_id": row.project_id,
        "model": row.model,
        "upstream": row.upstream,
        "status": PUBLIC[row.state],
        "completed_at": row.ended_at // 1000,
        **_money(row, row.reported - row.estimated if known else None),
    }


def _money(row: Any, difference: Any) -> Json:
    return {
        "currency": "usd",
        "charged": _usd(row.charged),
        "quoted": _usd(row.quoted),
        "estimated": _usd(row.estimated),
        "reported": _usd(row.reported),
        "difference": _usd(difference),
    }


def _usd(micros: Any) -> str | None:
    return None if micros is None else format_usd(int(micros))
