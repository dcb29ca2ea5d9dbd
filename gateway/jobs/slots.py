"""How much may run at once: per upstream, per key and per organization. Counted from attempts, kept in counters.

Counters are locked in one order, that of their names. A job that finds no room is parked in the same transaction;
the transaction that frees a slot wakes one.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Integer, bindparam, case, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.db import now_ms
from gateway.jobs.tables import attempts, jobs, slots
from gateway.videos.tables import videos

PROBE_MS: Final = 60_000
"""How long a half-open breaker waits to hear whether its one video was taken; its sender may have died."""
JOB_PROBE_MS: Final = 600_000
"""The same where jobs had ended badly: until that video is done."""
_ASK_AGAIN_MS: Final = 2_000


def key_slot(key_id: str) -> str:
    """The counter of one API key."""
    return f"key:{key_id}"


def organization_slot(organization_id: str) -> str:
    """The counter of one organization: its plan's limit."""
    return f"org:{organization_id}"


def client_slots(video: Any) -> list[str]:
    """The counters that an attempt of this video holds for its client, as long as `holds_key_slot`."""
    return [key_slot(video.key_id), organization_slot(video.organization_id)]


def upstream_slot(name: str) -> str:
    """The counter of one upstream; of a fleet there is one for each server."""
    return f"upstream:{name}"


def queue_of(slot: str) -> str:
    """What jobs are parked for that take a place like this one wherever it is: at any server of the fleet."""
    return slot.partition("@")[0]


_LOCKED: Final = (
    select(
        slots.c.name,
        slots.c.used,
        (slots.c.paused_until - now_ms()).label("paused_ms"),
        slots.c.opened,
        (slots.c.probe_until - now_ms()).label("probing_ms"),
    )
    .where(slots.c.name.in_(bindparam("names", expanding=True)))
    .order_by(slots.c.name)
    .with_for_update()
)
_TAKE: Final = (
    update(slots)
    .where(slots.c.name == bindparam("slot"))
    .values(used=slots.c.used + bindparam("count", type_=Integer))
)
_FREE: Final = (
    update(slots)
    .where(slots.c.name == bindparam("slot"))
    .values(used=slots.c.used - bindparam("count", type_=Integer))
)
_PROBE: Final = (
    update(slots)
    .where(slots.c.name.in_(bindparam("names", expanding=True)))
    .values(probe_until=now_ms() + case((slots.c.failing == "job", JOB_PROBE_MS), else_=PROBE_MS))
)
_FORGET: Final = delete(slots).where(
    slots.c.name.like("upstream:%@%"),
    slots.c.used == 0,
    slots.c.opened == 0,
    slots.c.failures == 0,
    slots.c.paused_until <= now_ms(),
)
_FIRST_PARKED: Final = (
    select(jobs.c.id)
    .where(jobs.c.parked_for == bindparam("slot"))
    .order_by(jobs.c.priority, jobs.c.id)
    .limit(bindparam("count", type_=Integer))
    .with_for_update(skip_locked=True)
)
_UNPARK: Final = (
    update(jobs).where(jobs.c.id.in_(_FIRST_PARKED.scalar_subquery())).values(due=now_ms(), parked_for=None)
)


@dataclass(frozen=True, slots=True)
class _Counter:
    """One locked counter. Milliseconds: how long it is paused, how long a probe is under way."""

    used: int = 0
    paused_ms: int = 0
    opened: int = 0
    probing_ms: int = 0


@dataclass(frozen=True, slots=True)
class Blocked:
    """No room: wait for `slot`, or for `delay_ms` while the upstream is paused."""

    slot: str
    delay_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """One counter and its cap; None is no cap."""

    slot: str
    cap: int | None


class Room:
    """What is left of some counters, locked until commit, so that parking cannot miss a wake."""

    def __init__(self, conn: Connection, names: Collection[str]) -> None:
        self._conn = conn
        self._rows = _locked(conn, names)
        self._taken: Counter[str] = Counter()
        self._probes: set[str] = set()

    def take(self, wants: Sequence[Want]) -> Blocked | None:
        """Take one of each, or none of them."""
        for want in wants:
            row = self._rows[want.slot]
            if row.paused_ms > 0:
                return Blocked(want.slot, delay_ms=row.paused_ms)
            if want.cap is not None and row.used + self._taken[want.slot] >= want.cap:
                return Blocked(want.slot)
            if row.opened and (row.probing_ms > 0 or want.slot in self._probes):
                return Blocked(want.slot, delay_ms=_ASK_AGAIN_MS)  # half-open: one video is its probe
        self._taken.update(want.slot for want in wants)
        self._probes.update(want.slot for want in wants if self._rows[want.slot].opened)
        return None

    def take_one(self, wants: Sequence[Want], ways: Sequence[Want]) -> Want | Blocked:
        """Take one of each of `wants` and one of `ways`: the first whose upstream has room, or nothing."""
        blocked: list[Blocked] = []
        for way in ways:
            found = self.take((*wants, way))
            if found is None:
                return way
            if found.slot != way.slot:
                return found
            blocked.append(found)
        parked = [each for each in blocked if each.delay_ms is None]
        return parked[0] if parked else min(blocked, key=lambda each: each.delay_ms or 0)

    def used(self, slot: str) -> int:
        """How many are taken of this counter."""
        return self._rows[slot].used + self._taken[slot]

    def spare(self, want: Want) -> int:
        """How many more this counter takes now; 0 where nobody can be waiting for it."""
        row = self._rows[want.slot]
        if want.cap is None or row.paused_ms > 0:
            return 0
        return max(0, want.cap - row.used - self._taken[want.slot])

    def commit(self) -> None:
        """Write down what was taken."""
        taken = [{"slot": name, "count": count} for name, count in self._taken.items()]
        if taken:
            self._conn.execute(_TAKE, taken)
        if self._probes:
            self._conn.execute(_PROBE, {"names": sorted(self._probes)})


def _locked(conn: Connection, names: Collection[str]) -> dict[str, _Counter]:
    """The counters by name; one that is not there yet is made."""
    found = _read(conn, names)
    missing = [name for name in names if name not in found]
    if missing:
        make_sure(conn, *missing)
        found = _read(conn, names)
    return found


def _read(conn: Connection, names: Collection[str]) -> dict[str, _Counter]:
    rows = conn.execute(_LOCKED, {"names": sorted(names)})
    return {row.name: _Counter(row.used, row.paused_ms, row.opened, row.probing_ms) for row in rows}


def make_sure(conn: Connection, *names: str) -> None:
    """Make the counters that are not there yet."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    conn.execute(make(slots).on_conflict_do_nothing(), [{"name": name} for name in sorted(names)])


def free(conn: Connection, names: Sequence[str]) -> None:
    """Give one of each back (a name given twice: two) and wake as many jobs that wait for it."""
    for name, count in sorted(Counter(names).items()):
        conn.execute(_FREE, {"slot": name, "count": count})
        unpark(conn, name, count)


def unpark(conn: Connection, name: str, count: int) -> int:
    """Make the `count` most urgent jobs parked for this slot due now, after them those parked for any of its fleet."""
    woken = conn.execute(_UNPARK, {"slot": name, "count": count}).rowcount
    queue = queue_of(name)
    if queue != name and woken < count:
        woken += conn.execute(_UNPARK, {"slot": queue, "count": count - woken}).rowcount
    return woken


def pause(conn: Connection, name: str, delay_ms: int) -> None:
    """Send nothing new to this upstream for a while (429 with Retry-After)."""
    conn.execute(
        update(slots)
        .where(slots.c.name == name, slots.c.paused_until < now_ms() + delay_ms)
        .values(paused_until=now_ms() + delay_ms)
    )


def verify(conn: Connection) -> list[str]:
    """Set every counter to what the attempts say; answers what was wrong, one sentence each. Counters at rest of a
    fleet's servers, whose addresses come and go, are dropped: whoever needs one makes it."""
    query = select(slots.c.name, slots.c.used).order_by(slots.c.name).with_for_update()  # key before upstream
    held = {row.name: row.used for row in conn.execute(query)}
    counts = [*conn.execute(_counts_by_upstream()), *_counts_by_client(conn)]
    true = {str(name): int(used) for name, used in counts}
    wrong: list[str] = []
    for name, used in held.items():
        if used != true.get(name, 0):
            wrong.append(f"slot counter {name} said {used}, attempts say {true.get(name, 0)}")
            conn.execute(update(slots).where(slots.c.name == name).values(used=true.get(name, 0)))
    for name in true.keys() - held.keys():
        wrong.append(f"slot counter {name} was missing, attempts say {true[name]}")
        conn.execute(insert(slots).values(name=name, used=true[name]))
    conn.execute(_FORGET)
    return wrong


def wake_parked(conn: Connection, per_slot: int) -> int:
    """Let the first few of every queue look again: a safety net, and the way a raised cap takes effect."""
    names = (
        conn.execute(select(jobs.c.parked_for).where(jobs.c.parked_for.is_not(None)).distinct())
        .scalars()
        .all()
    )
    return sum(unpark(conn, str(name), per_slot) for name in names)


def _counts_by_upstream() -> Any:
    name = literal("upstream:").concat(attempts.c.upstream)
    return select(name, func.count()).where(attempts.c.holds_upstream_slot).group_by(attempts.c.upstream)


def _counts_by_client(conn: Connection) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for prefix, column in (("key:", videos.c.key_id), ("org:", videos.c.organization_id)):
        counted = (
            select(literal(prefix).concat(column), func.count())
            .join(attempts, attempts.c.video_id == videos.c.id)
            .where(attempts.c.holds_key_slot)
            .group_by(column)
        )
        found += [(str(name), int(used)) for name, used in conn.execute(counted)]
    return found
