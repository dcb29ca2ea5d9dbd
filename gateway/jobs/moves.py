"""The common steps of a begun job, for many jobs in one transaction: taken, still running, done.

Handlers for `Database.write_batch`: a fixed number of statements, however many jobs there are. Each answers
LeaseLost for a job that is not ours any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Row, bindparam, select, update

from gateway.db import now_ms
from gateway.jobs import claims
from gateway.jobs.claims import Lease, LeaseLost
from gateway.jobs.costs import COSTS
from gateway.jobs.poll_log import Polled, log_polls
from gateway.jobs.tables import attempts, jobs
from gateway.videos.states import State
from gateway.videos.tables import videos

_HAND_ON: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job_id"))
    .values(
        state=State.RUNNING,
        tries=0,
        due=now_ms() + bindparam("delay_ms", type_=BigInteger),
        parked_for=None,
        lease_until=0,
        owner=None,
    )
)
_ATTEMPT_TAKEN: Final = (
    update(attempts)
    .where(attempts.c.id == bindparam("attempt_id"))
    .values(state="running", handle=bindparam("new_handle"), submitted_at=now_ms(), error=None)
)
# waiting for a turn is over: from here on the model's own deadline counts
_VIDEO_TAKEN: Final = (
    update(videos)
    .where(videos.c.id == bindparam("job_id"))
    .values(
        state=State.RUNNING,
        version=videos.c.version + 1,
        deadline=now_ms() + bindparam("deadline_ms", type_=BigInteger),
    )
)
_CANCELLED: Final = select(videos.c.id).where(
    videos.c.id.in_(bindparam("ids", expanding=True)), videos.c.cancel_requested
)
_PROGRESS: Final = (
    update(videos)
    .where(videos.c.id == bindparam("job_id"))
    .values(progress=bindparam("new_progress"), version=videos.c.version + 1)
)
_JOBS_DONE: Final = (
    update(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True))).values(state=State.STORING, tries=0)
)
_VIDEOS_DONE: Final = (
    update(videos)
    .where(videos.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=State.STORING, version=videos.c.version + 1)
)
_ATTEMPTS_DONE: Final = (
    update(attempts)
    .where(attempts.c.id == bindparam("attempt_id"))
    .values(
        outputs=bindparam("new_outputs"),
        finished_at=now_ms(),
        cost_micros=bindparam("new_micros"),
        cost_source=bindparam("new_source"),
        cost_amount=bindparam("new_amount"),
        cost_currency=bindparam("new_currency"),
        cost_rate=bindparam("new_rate"),
        gpu_ms=bindparam("new_gpu_ms"),
    )
)
_ATTEMPTS: Final = select(attempts).where(attempts.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Taken:
    """The upstream took it: poll in `delay_ms`, end by `deadline_ms` from now."""

    lease: Lease
    attempt_id: str
    handle: Mapping[str, Any]
    delay_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The upstream still works on it, or was not asked (`polled` None); `progress` None where it has not moved."""

    lease: Lease
    delay_ms: int
    progress: int | None = None
    polled: Polled | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The upstream is done: its bytes are next, and the lease stays ours. `cost` are columns of the attempt."""

    lease: Lease
    attempt_id: str
    outputs: Mapping[str, Any]
    cost: Mapping[str, Any] = field(default_factory=dict)
    gpu_ms: int | None = None


def taken(conn: Connection, items: Sequence[Taken]) -> list[LeaseLost | None]:
    """submitting -> running."""
    ours = claims.owned(conn, [item.lease for item in items])
    rows = [
        {
            "job_id": item.lease.job_id,
            "delay_ms": item.delay_ms,
            "deadline_ms": item.deadline_ms,
            "attempt_id": item.attempt_id,
            "new_handle": dict(item.handle),
        }
        for item in items
        if item.lease.job_id in ours
    ]
    if rows:
        for statement in (_HAND_ON, _ATTEMPT_TAKEN, _VIDEO_TAKEN):
            conn.execute(statement, rows)
    return [_verdict(item.lease, ours) for item in items]


def waiting(conn: Connection, items: Sequence[Waiting]) -> list[LeaseLost | None]:
    """running -> running, later."""
    ours = claims.owned(conn, [item.lease for item in items])
    kept = [item for item in items if item.lease.job_id in ours]
    if kept:
        # a cancel that came while the upstream was asked must not wait for the next poll
        ids = {"ids": [each.lease.job_id for each in kept]}
        cancelled = set(conn.execute(_CANCELLED, ids).scalars())
        rows = [
            {
                "job_id": each.lease.job_id,
                "delay_ms": 0 if each.lease.job_id in cancelled else each.delay_ms,
            }
            for each in kept
        ]
        conn.execute(_HAND_ON, rows)
    moved = [
        {"job_id": each.lease.job_id, "new_progress": each.progress}
        for each in kept
        if each.progress is not None
    ]
    if moved:
        conn.execute(_PROGRESS, moved)
    log_polls(conn, [each.polled for each in kept if each.polled is not None])
    return [_verdict(item.lease, ours) for item in items]


def done(conn: Connection, items: Sequence[Done]) -> list[Row[Any] | LeaseLost]:
    """running -> storing; answers the attempts as they are now."""
    ours = claims.owned(conn, [item.lease for item in items])
    kept = [item for item in items if item.lease.job_id in ours]
    rows: dict[str, Row[Any]] = {}
    if kept:
        ids = {"ids": [each.lease.job_id for each in kept]}
        conn.execute(_JOBS_DONE, ids)
        conn.execute(_VIDEOS_DONE, ids)
        conn.execute(_ATTEMPTS_DONE, [_finished(each) for each in kept])
        log_polls(conn, [Polled(each.attempt_id, "completed") for each in kept])
        found = conn.execute(_ATTEMPTS, {"ids": [each.attempt_id for each in kept]})
        rows = {row.id: row for row in found}
    return [
        rows[item.attempt_id] if item.lease.job_id in ours else LeaseLost(item.lease.job_id) for item in items
    ]


def _finished(item: Done) -> dict[str, Any]:
    return {
        "attempt_id": item.attempt_id,
        "new_outputs": dict(item.outputs),
        **{f"new_{name.removeprefix('cost_')}": item.cost.get(name) for name in COSTS},
        "new_gpu_ms": item.gpu_ms,
    }


def _verdict(lease: Lease, ours: set[str]) -> LeaseLost | None:
    return None if lease.job_id in ours else LeaseLost(lease.job_id)
