"""queued -> submitting for many jobs in one transaction: slots taken, attempts written, the rest parked.

A handler for `Database.write_batch`: a fixed number of statements, however many jobs there are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Row, bindparam, insert, select, update

from gateway.db import now_ms
from gateway.ids import new_id
from gateway.jobs import claims, slots
from gateway.jobs.claims import BEGUN, Lease, LeaseLost
from gateway.jobs.slots import Blocked, Want, queue_of, upstream_slot
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
    .values(
        due=now_ms() + bindparam("hold_ms", type_=BigInteger),  # NULL where only a free slot wakes it
        parked_for=bindparam("slot"),
        lease_until=0,
        owner=None,
    )
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
class Way:
    """One upstream that would do. `estimate_micros`: what it is expected to charge, None where its price is unknown."""

    upstream: str
    upstream_model: str
    max_concurrent: int | None = None
    credential_version: int | None = None
    estimate_micros: int | None = None
    preferred: bool = False

    @property
    def want(self) -> Want:
        """The place at the upstream."""
        return Want(upstream_slot(self.upstream), self.max_concurrent)


@dataclass(frozen=True, slots=True)
class Intent:
    """One job that would send: by any of these ways, with which slots of its client, after which attempt.

    Of several ways the preferred come first, then those with the fewest videos. `hold_ms`: parked for one of these ways
    it is due again after so long, for then there are more; without it it waits for any of the fleet.
    """

    lease: Lease
    video_id: str
    ways: tuple[Way, ...]
    wants: tuple[Want, ...] = ()
    last: Any | None = None
    hold_ms: int | None = None

    @property
    def all_wants(self) -> tuple[Want, ...]:
        """Every counter that it may take from."""
        return (*self.wants, *(way.want for way in self.ways))


@dataclass(frozen=True, slots=True)
class _Begun:
    """An intent and the way that had room."""

    item: Intent
    way: Way

    @property
    def again(self) -> bool:
        """The refused attempt once more."""
        last = self.item.last
        if last is None or last.state != "refused":
            return False
        return bool(last.upstream == self.way.upstream and last.upstream_model == self.way.upstream_model)


def begin(conn: Connection, items: Sequence[Intent]) -> list[Row[Any] | LeaseLost | None]:
    """Answer each job's attempt, None where it had to be parked or put off, LeaseLost where it is not ours."""
    ours = claims.owned(conn, [item.lease for item in items])
    # asked only now that the jobs are locked: a cancel either is seen here or finds what is written here
    cancelled = set(conn.execute(_CANCELLED, {"ids": [item.video_id for item in items]}).scalars())
    room = slots.Room(conn, {want.slot for item in items for want in item.all_wants})
    begun: dict[str, _Begun] = {}
    put_off: list[tuple[Intent, Blocked]] = []
    for item in items:
        if item.lease.job_id not in ours:
            continue
        found = _AT_ONCE if item.video_id in cancelled else _taken(room, item)
        if isinstance(found, Blocked):
            put_off.append((item, found))
        else:
            begun[_attempt_id(found)] = found
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


def _taken(room: slots.Room, item: Intent) -> _Begun | Blocked:
    ways = list(item.ways)
    if len(ways) > 1:
        ways.sort(key=lambda way: (not way.preferred, room.used(way.want.slot)))
    found = room.take_one(item.wants, [way.want for way in ways])
    if isinstance(found, Blocked):
        return found
    return _Begun(item, next(way for way in ways if way.want == found))


def _attempt_id(begun: _Begun) -> str:
    """The refused attempt again: it was surely not accepted, so its id still names one video. Else a new one.

    A refused attempt whose video now goes elsewhere stays refused.
    """
    last = begun.item.last
    return str(last.id) if begun.again and last is not None else new_id("att")


def _write(conn: Connection, begun: dict[str, _Begun]) -> None:
    if not begun:
        return
    ids = {"ids": [each.item.video_id for each in begun.values()]}
    conn.execute(_BEGIN_JOBS, ids)
    conn.execute(_MOVE_VIDEOS, ids)
    same = [
        {"attempt_id": attempt_id, "new_version": each.way.credential_version}
        for attempt_id, each in begun.items()
        if each.again
    ]
    new = [_row(attempt_id, each) for attempt_id, each in begun.items() if not each.again]
    if same:
        conn.execute(_SAME_ATTEMPTS, same)
    if new:
        conn.execute(_NEW_ATTEMPTS, new)


def _row(attempt_id: str, begun: _Begun) -> dict[str, Any]:
    last = begun.item.last
    return {
        "id": attempt_id,
        "video_id": begun.item.video_id,
        "n": 1 if last is None else last.n + 1,
        "upstream": begun.way.upstream,
        "upstream_model": begun.way.upstream_model,
        "credential_version": begun.way.credential_version,
        "state": "intent",
        "idempotency_key": attempt_id,
        "holds_key_slot": True,
        "holds_upstream_slot": True,
        "estimate_micros": begun.way.estimate_micros,
    }


def _pass_on(conn: Connection, room: slots.Room, put_off: Sequence[tuple[Intent, Blocked]]) -> None:
    """Wake the next for a free slot where the job that was woken for it waits for another slot instead."""
    unused: Counter[Want] = Counter()
    for item, blocked in put_off:
        if blocked.delay_ms is None:
            unused.update(want for want in item.wants if want.slot != blocked.slot)
            ways = [way.want for way in item.ways]
            if all(want.slot != blocked.slot for want in ways):
                unused[max(ways, key=room.spare)] += 1  # one place, at whichever server
    for want, count in unused.items():
        if spare := room.spare(want):
            slots.unpark(conn, want.slot, min(count, spare))


def _put_off(conn: Connection, put_off: Sequence[tuple[Intent, Blocked]]) -> None:
    parked = [
        {"job_id": i.lease.job_id, "slot": _parked_for(i, b), "hold_ms": i.hold_ms}
        for i, b in put_off
        if b.delay_ms is None
    ]
    later = [{"job_id": i.lease.job_id, "delay_ms": b.delay_ms} for i, b in put_off if b.delay_ms is not None]
    if parked:
        conn.execute(_PARK, parked)
    if later:
        conn.execute(_POSTPONE, later)


def _parked_for(item: Intent, blocked: Blocked) -> str:
    return queue_of(blocked.slot) if item.hold_ms is None else blocked.slot
