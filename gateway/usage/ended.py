"""Videos that have ended: what each counts, how the settle transaction counts it, and the proof by counting again."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    bindparam,
    case,
    func,
    literal,
    select,
    union_all,
)

from billing.ledger_costs import Cost, book_costs, later_costs
from billing.rollups import DAYS, GRAINS, HOURS, KEYS, MEASURES, USER_DAYS, Usage, record_usage
from billing.rollups import correct_upstream_cost as correct
from billing.timings import Timing, record_timings
from billing.usage_tables import usage_rollups
from gateway.jobs.tables import attempts
from gateway.videos.states import State
from gateway.videos.tables import videos

_MOST_PROBLEMS: Final = 100
_COMPLETED: Final = case((videos.c.state == State.COMPLETED, 1), else_=0)
_REVENUE: Final = func.coalesce(videos.c.cost_micros, 0)
_UPSTREAM: Final = (
    select(func.coalesce(func.sum(attempts.c.cost_micros), 0))
    .where(attempts.c.video_id == videos.c.id)
    .correlate(videos)
    .scalar_subquery()
)


def ended_videos(*, costs: bool = False) -> Select[Any]:
    """What each ended video counts, by the names of the rollups; `upstream_cost` only with `costs`."""
    columns: list[ColumnElement[Any]] = [
        videos.c.organization_id,
        videos.c.project_id,
        videos.c.key_id,
        videos.c.model,
        func.coalesce(videos.c.user_ref, "").label("user_ref"),
        videos.c.completed_at.label("ended_at"),
        _COMPLETED.label("completed"),
        (1 - _COMPLETED).label("failed"),
        func.coalesce(videos.c.billed_ms, 0).label("billed_ms"),
        _REVENUE.label("revenue"),
        (_REVENUE * (1 - _COMPLETED)).label("fees"),
        videos.c.hold_micros.label("quoted"),
    ]
    if costs:
        columns.append(_UPSTREAM.label("upstream_cost"))
    return select(*columns).where(videos.c.completed_at.is_not(None))


_SUBMITTED: Final = (
    select(func.max(attempts.c.submitted_at))
    .where(attempts.c.video_id == videos.c.id, attempts.c.state == "completed")
    .correlate(videos)
    .scalar_subquery()
)
_BY_ID: Final = (
    ended_videos(costs=True)
    .add_columns(videos.c.id, videos.c.created_at, _SUBMITTED.label("submitted_at"))
    .where(videos.c.id.in_(bindparam("ids", expanding=True)))
)


def record_ended(conn: Connection, video_ids: Sequence[str]) -> None:
    """Count videos whose rows this transaction has just ended, and book what their upstreams took."""
    rows = conn.execute(_BY_ID, {"ids": list(video_ids)}).all()
    record_usage(conn, [_usage(row) for row in rows])
    record_timings(conn, [_timing(row) for row in rows if row.completed and row.submitted_at is not None])
    costs = [
        Cost(row.id, row.organization_id, int(row.upstream_cost), int(row.ended_at))
        for row in rows
        if row.upstream_cost
    ]
    book_costs(conn, costs)


def correct_upstream_cost(conn: Connection, video_id: str, more: int, now: int) -> None:
    """Count and book what an upstream charged for a video that ended before (micro-USD, milliseconds)."""
    if not more:
        return
    for row in conn.execute(_BY_ID, {"ids": [video_id]}):
        correct(conn, _usage(row), more)
        book_costs(conn, [Cost(video_id, row.organization_id, more, now, later_costs(conn, video_id))])


def _usage(row: Any) -> Usage:
    return Usage(
        organization_id=row.organization_id,
        project_id=row.project_id,
        key_id=row.key_id,
        model=row.model,
        user_ref=row.user_ref,
        ended_at=row.ended_at,
        completed=bool(row.completed),
        billed_ms=int(row.billed_ms),
        revenue=int(row.revenue),
        quoted=int(row.quoted),
        upstream_cost=int(row.upstream_cost),
    )


def _timing(row: Any) -> Timing:
    return Timing(
        organization_id=row.organization_id,
        project_id=row.project_id,
        key_id=row.key_id,
        model=row.model,
        ended_at=row.ended_at,
        waited_ms=max(0, row.submitted_at - row.created_at),
        rendered_ms=max(0, row.ended_at - row.submitted_at),
    )


def recount(grain: str) -> Select[Any]:
    """The rows of one family as the videos themselves say."""
    ended = ended_videos(costs=True).subquery()
    keys = _keys(ended, grain)
    sums = [func.sum(ended.c[name]).label(name) for name in MEASURES]
    return select(*[column.label(name) for name, column in keys.items()], *sums).group_by(*keys.values())


def _keys(ended: Subquery, grain: str) -> dict[str, ColumnElement[Any]]:
    nothing = literal("")
    users = grain == USER_DAYS
    return {
        "organization_id": ended.c.organization_id,
        "bucket": ended.c.ended_at - ended.c.ended_at % GRAINS[grain],
        "project_id": ended.c.project_id,
        "key_id": nothing if users else ended.c.key_id,
        "model": nothing if users else ended.c.model,
        "user_ref": ended.c.user_ref if users else nothing,
    }


def verify_rollups(conn: Connection) -> list[str]:
    """Every rollup row that is not what its videos add up to, as one sentence; empty when all are right."""
    return [problem for grain in (HOURS, DAYS, USER_DAYS) for problem in _differences(conn, grain)]


def _differences(conn: Connection, grain: str) -> list[str]:
    names = [name for name in KEYS if name != "grain"]
    told = select(*[usage_rollups.c[name] for name in (*names, *MEASURES)])
    counted = recount(grain).subquery()
    negated = select(*[counted.c[name] for name in names], *[-counted.c[name] for name in MEASURES])
    both = union_all(told.where(usage_rollups.c.grain == grain), negated).subquery()
    sums = {name: func.sum(both.c[name]) for name in MEASURES}
    wrong = [total != 0 for total in sums.values()]
    keys = [both.c[name] for name in names]
    query = select(*keys, *[total.label(name) for name, total in sums.items()]).group_by(*keys)
    anything = wrong[0]
    for each in wrong[1:]:
        anything |= each
    rows = conn.execute(query.having(anything).order_by(*keys).limit(_MOST_PROBLEMS)).mappings()
    return [_sentence(grain, row) for row in rows]


def _sentence(grain: str, row: Any) -> str:
    where = ", ".join(str(row[name]) for name in ("project_id", "key_id", "model", "user_ref") if row[name])
    off = ", ".join(f"{name} {int(row[name]):+d}" for name in MEASURES if row[name])
    return f"usage of {row['organization_id']} at {row['bucket']} ({grain}: {where}) is off by {off}"
