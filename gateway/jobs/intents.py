"""queued -> submitting for many jobs in one transaction: slots taken, attempts written, the rest parked.

A handler for `Database.write_batch`: a fixed number of statements, however many jobs there are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from gateway.db import now_ms
from gateway.ids import new_id
from gateway.jobs import claims, slots
from gateway.jobs.claims import BEGUN, Lease, LeaseLost
from gateway.jobs.slots import Blocked, Want
from gateway.jobs.tables import attempts, jobs
from gateway.videos.states import State
from gateway.videos.tables import videos

_BEGIN_JOBS: Final = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=State.SUBMITTING, priority=jobs.c.priority - BEGUN)
)
_MOVE_VIDEOS: Final = (
    update(videos)
    .where(videos.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=State.SUBMITTING, version=videos.c.version + 1)
)
_PARK: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job_id"))
    .values(due=None, parked_for=bindparam("slot"), lease_until=0, owner=None)
)
_POSTPONE: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job_id"))
    .values(due=now_ms() + bindparam("delay_ms"), parked_for=None, lease_until=0, owner=None)
)
_NEW_ATTEMPTS: Final = insert(attempts).values(created_at=now_ms(), sent_at=now_ms())
_SAME_ATTEMPTS: Final = (
    update(attempts)
    .where(attempts.c.id == bindparam("attempt_id"))
    .values(
        state="intent",
        holds_key_slot=True,
        holds_upstream_slot=True,
        sent_at=now_ms(),
        handle=None,
        credential_version=bindparam("new_version"),
    )
)
_CANCELLED: Final = select(videos.c.id).where(
    videos.c.id.in_(bindparam("ids", expanding=True)), videos.c.cancel_requested
)
_ATTEMPTS: Final = select(attempts).where(attempts.c.id.in_(bindparam("ids", expanding=True)))


_AT_ONCE: Final = Blocked("", delay_ms=0)


@dataclass(frozen=True, slots=True)
class Intent:
    """One job that would send: to which upstream, with which slots, after which attempt."""

    lease: Lease
    video_id: str
    upstream: str
    upstream_model: str
    wants: tuple[Want, ...]
    last: Any | None = None
    credential_version: int | None = None
    estimate_micros: int | None = (
        None  # what the upstream is expected to charge, None where its price is unknown
    )


def begin(conn: Connection, items: Sequence[Intent]) -> list[Row[Any] | LeaseLost | None]:
    """Answer each job's attempt, None where it had to be parked or put off, LeaseLost where it is not ours."""
    ours = claims.owned(conn, [item.lease for item in items])
    # asked only now that the jobs are locked: a cancel either is seen here or finds what is written here
    cancelled = set(conn.execute(_CANCELLED, {"ids": [item.video_id for item in items]}).scalars())
    room = slots.Room(conn, {want.slot for item in items for want in item.wants})
    begun: dict[str, Intent] = {}
    put_off: list[tuple[Intent, Blocked]] = []
    for item in items:
        if item.lease.job_id not in ours:
            continue
        blocked = _AT_ONCE if item.video_id in cancelled else room.take(item.wants)
        if blocked is None:
            begun[_attempt_id(item)] = item
        else:
            put_off.append((item, blocked))
    room.commit()
    _put_off(conn, put_off)
    _pass_on(conn, room, put_off)
    _write(conn, begun)
    answers: dict[str, Row[Any]] = {}
    if begun:
        answers = {row.video_id: row for row in conn.execute(_ATTEMPTS, {"ids": list(begun)})}
    return [
        answers.get(item.video_id) if item.lease.job_id in ours else LeaseLost(item.lease.job_id)
        for item in items
    ]


def _attempt_id(item: Intent) -> str:
    """The refused attempt again: it was surely not accepted, so its id still names one video. Else a new one.

    A refused attempt whose video now goes elsewhere stays refused.
    """
    return str(item.last.id) if _again(item) and item.last is not None else new_id("att")


def _again(item: Intent) -> bool:
    last = item.last
    if last is None or last.state != "refused":
        return False
    return bool(last.upstream == item.upstream and last.upstream_model == item.upstream_model)


def _write(conn: Connection, begun: dict[str, Intent]) -> None:
    if not begun:
        return
    ids = {"ids": [item.video_id for item in begun.values()]}
    conn.execute(_BEGIN_JOBS, ids)
    conn.execute(_MOVE_VIDEOS, ids)
    same = [
        {"attempt_id": attempt_id, "new_version": item.credential_version}
        for attempt_id, item in begun.items()
        if _again(item)
    ]
    new = [_row(attempt_id, item) for attempt_id, item in begun.items() if not _again(item)]
    if same:
        conn.execute(_SAME_ATTEMPTS, same)
    if new:
        conn.execute(_NEW_ATTEMPTS, new)


def _row(attempt_id: str, item: Intent) -> dict[str, Any]:
    return {
        "id": attempt_id,
        "video_id": item.video_id,
        "n": 1 if item.last is None else item.last.n + 1,
        "upstream": item.upstream,
        "upstream_model": item.upstream_model,
        "credential_version": item.credential_version,
        "state": "intent",
        "idempotency_key": attempt_id,
        "holds_key_slot": True,
        "holds_upstream_slot": True,
        "estimate_micros": item.estimate_micros,
    }


def _pass_on(conn: Connection, room: slots.Room, put_off: Sequence[tuple[Intent, Blocked]]) -> None:
    """Wake the next for a free slot where the job that was woken for it waits for another slot instead."""
    unused: Counter[Want] = Counter()
    for item, blocked in put_off:
        if blocked.delay_ms is None:
            unused.update(want for want in item.wants if want.slot != blocked.slot)
    for want, count in unused.items():
        if spare := room.spare(want):
            slots.unpark(conn, want.slot, min(count, spare))


def _put_off(conn: Connection, put_off: Sequence[tuple[Intent, Blocked]]) -> None:
    parked = [{"job_id": i.lease.job_id, "slot": b.slot} for i, b in put_off if b.delay_ms is None]
    later = [{"job_id": i.lease.job_id, "delay_ms": b.delay_ms} for i, b in put_off if b.delay_ms is not None]
    if parked:
        conn.execute(_PARK, parked)
    if later:
        conn.execute(_POSTPONE, later)
