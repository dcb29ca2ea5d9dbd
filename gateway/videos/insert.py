"""The one transaction of a create: video rows, job rows, holds and the idempotency record, for many callers at once.

Set-based: a refused item is an exception in the answer and leaves its neighbours alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from billing.budgets import count_videos, mark_exhausted, period_end, period_start
from billing.bulk_insert import BulkInsert
from billing.ledger import (
    BudgetAlert,
    BudgetExceeded,
    Hold,
    InsufficientCredit,
    Suspended,
    hold_many,
)
from gateway.db import now_ms
from gateway.errors import Forbidden, NotFound, QuotaExceeded
from gateway.idempotency.service import AlreadyRecordedError, Claim, forget, record
from gateway.jobs.budget_events import enqueue_budget_alerts
from gateway.jobs.tables import jobs
from gateway.videos.sources import still_there
from gateway.videos.tables import videos
from gateway.videos.view import PUBLIC_COLUMNS, Row

RETRY_WINDOW_MS: Final = 30 * 60 * 1000
"""How long after its first create an SDK's retry may still claim it."""

_INSERT_VIDEOS: Final = BulkInsert(
    videos,
    (
        *(
            "id",
            "organization_id",
            "project_id",
            "key_id",
            "group_id",
            "operation",
            "model",
            "prompt",
            "seconds",
        ),
        *("size", "source_video_id", "request", "state", "progress", "version", "cancel_requested"),
        *("created_at", "user_ref", "metadata", "warnings", "hold_micros", "cost_status", "fingerprint"),
        *("retry_claims", "trace"),
    ),
    deadline=now_ms() + bindparam("deadline_in"),
)
_INSERT_JOBS: Final = BulkInsert(
    jobs, ("id", "kind", "state", "priority", "lease_until", "fence", "tries"), due=now_ms()
)


@dataclass(frozen=True, slots=True)
class NewVideos:
    """One accepted request: all of its videos, or none. Rows by column name; `deadline_in` in milliseconds.

    `retry` is the SDK's retry count, 0 where the request is no retry or carries an Idempotency-Key. After
    `fast_videos` of the organization in a month, `slow_down` is added to the priority.
    """

    rows: Sequence[dict[str, Any]]
    jobs: Sequence[dict[str, Any]]
    holds: Sequence[Hold]
    answer: dict[str, Any]
    created_at: int
    claim: Claim | None = None
    retry: int = 0
    source_video_id: str | None = None
    fast_videos: int | None = None
    slow_down: int = 0

    @property
    def head(self) -> dict[str, Any]:
        """The first video: the one that the answer shows."""
        return self.rows[0]


Inserted = Row | None
"""None: all rows are new. A row: the earlier video whose answer this retry had lost."""

_Result = Inserted | Exception


def insert_videos(conn: Connection, items: Sequence[NewVideos]) -> list[_Result]:
    """Carry out every item it can. An IntegrityError undoes them all: each is then tried by itself."""
    results: list[_Result] = [None] * len(items)
    fresh: list[int] = []
    for n, item in enumerate(items):
        refusal = _precheck(conn, item)
        if refusal is None:
            fresh.append(n)
        else:
            results[n] = refusal
    accepted = []
    alerts: list[BudgetAlert] = []
    for n, refused in zip(fresh, _hold(conn, [items[n] for n in fresh], alerts), strict=True):
        if refused is None:
            accepted.append(items[n])
        else:
            forget(conn, items[n].claim)
            results[n] = refused
    if accepted:
        jobs_of = _queued(conn, accepted)
        _INSERT_VIDEOS(conn, [row for item in accepted for row in item.rows])
        _INSERT_JOBS(conn, [job for group in jobs_of for job in group])
        enqueue_budget_alerts(conn, alerts, accepted[0].created_at)
    return results


def _queued(conn: Connection, items: Sequence[NewVideos]) -> list[Sequence[dict[str, Any]]]:
    """Give the jobs their place in the queue: videos beyond the month's fast ones go slow."""
    wanted: Counter[tuple[str, int]] = Counter()
    for item in items:
        if item.fast_videos is not None:
            wanted[_month(item)] += len(item.jobs)
    made = {key: count_videos(conn, *key, more) - more for key, more in sorted(wanted.items())}
    return [item.jobs if item.fast_videos is None else _slowed(item, made) for item in items]


def _slowed(item: NewVideos, made: dict[tuple[str, int], int]) -> Sequence[dict[str, Any]]:
    """Count the item in `made`, what its organization has had this month."""
    before, fast = made[_month(item)], item.fast_videos or 0
    made[_month(item)] = before + len(item.jobs)
    if before + len(item.jobs) <= fast:
        return item.jobs
    return [
        {**job, "priority": job["priority"] + (item.slow_down if before + n >= fast else 0)}
        for n, job in enumerate(item.jobs)
    ]


def _month(item: NewVideos) -> tuple[str, int]:
    return item.head["organization_id"], period_start("month", item.created_at)


def _precheck(conn: Connection, item: NewVideos) -> Row | Exception | None:
    """Answer a retry by its first create, and refuse what another transaction has overtaken."""
    if item.retry and (earlier := _claim_earlier(conn, item)) is not None:
        return earlier
    source = item.source_video_id
    if source is not None and not still_there(conn, item.head["project_id"], source):
        return NotFound(f"No video '{source}' in this project.", param="video", code="video_not_found")
    if item.claim is not None:
        try:
            record(conn, item.claim, 200, item.answer, item.created_at)
        except AlreadyRecordedError as error:
            return error
    return None


def _claim_earlier(conn: Connection, item: NewVideos) -> Row | None:
    """Claim the oldest equal create that no retry of this count has claimed: two honest twins stay two."""
    c, head = videos.c, item.head
    earlier = (
        select(c.id)
        .where(
            c.fingerprint == head["fingerprint"],
            c.created_at > item.created_at - RETRY_WINDOW_MS,
            c.project_id == head["project_id"],
            c.retry_claims < item.retry,
            c.deleted_at.is_(None),
        )
        .order_by(c.created_at, c.id)
        .limit(1)
        .with_for_update()
    )
    video_id = conn.execute(earlier).scalar()
    if video_id is None:
        return None
    return (
        conn.execute(
            update(videos).where(c.id == video_id).values(retry_claims=item.retry).returning(*PUBLIC_COLUMNS)
        )
        .mappings()
        .one()
    )


def _hold(conn: Connection, items: Sequence[NewVideos], alerts: list[BudgetAlert]) -> list[Exception | None]:
    """Set the money of each item aside; a group is held whole or not at all."""
    refused: list[Exception | None] = [None] * len(items)
    singles = [n for n, item in enumerate(items) if len(item.holds) == 1]
    if singles:
        answers = hold_many(conn, [items[n].holds[0] for n in singles], alerts)
        for n, answer in zip(singles, answers, strict=True):
            refused[n] = _public(answer)
    for n, item in enumerate(items):
        if len(item.holds) > 1:
            refused[n] = _public(_hold_group(conn, item.holds, alerts))
    return refused


def _hold_group(conn: Connection, holds: Sequence[Hold], alerts: list[BudgetAlert]) -> Exception | None:
    reached: list[BudgetAlert] = []
    with conn.begin_nested() as savepoint:
        answers = hold_many(conn, holds, reached)
        refusal = next((answer for answer in answers if answer is not None), None)
        if refusal is not None:
            savepoint.rollback()
            return refusal
    alerts += reached
    return None


def _public(refusal: Exception | None) -> Exception | None:
    if isinstance(refusal, InsufficientCredit):
        return QuotaExceeded(f"{refusal} Add credit, or ask for fewer or shorter videos.")
    if isinstance(refusal, BudgetExceeded):
        return OverBudget(refusal)
    if isinstance(refusal, Suspended):
        return Forbidden(_SUSPENDED[refusal.args[0]], code="organization_suspended")
    return refusal


class OverBudget(QuotaExceeded):
    """A hard budget refused the request."""

    def __init__(self, refusal: BudgetExceeded) -> None:
        end = datetime.fromtimestamp(
            period_end(refusal.budget.period, refusal.period_start) // 1000, UTC
        ).strftime("%Y-%m-%d %H:%M UTC")
        super().__init__(
            f"{refusal} It starts anew at {end}; ask for less, or for a higher budget.", param=None
        )
        self.refusal = refusal


def tell_exhausted(error: OverBudget, now: int, conn: Connection) -> None:
    """Tell the last mark of the budget that has just refused; a transaction of its own, for the refused one is undone."""
    alert = mark_exhausted(conn, error.refusal)
    if alert is not None:
        enqueue_budget_alerts(conn, [alert], now)


_SUSPENDED: Final = {
    "receivable": "This organization is suspended: a payment was taken back beyond its credit. Top up what it owes.",
    "payment_failed": "This organization is suspended: an invoice could not be collected. Pay it to go on.",
    "operator": "This organization is suspended by the operator of this server.",
}
