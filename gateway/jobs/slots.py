"""How much may run at once: per upstream and per key. Counted from attempts, kept in counters.

Counters are locked in one order: key before upstream. A job that finds no room is parked in the same transaction;
the transaction that frees a slot wakes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.db import now_ms
from gateway.jobs.tables import attempts, jobs, slots
from gateway.videos.tables import videos


def key_slot(key_id: str) -> str:
    """The counter of one API key."""
    return f"key:{key_id}"


def upstream_slot(name: str) -> str:
    """The counter of one upstream."""
    return f"upstream:{name}"


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


def take(conn: Connection, wants: Sequence[Want]) -> Blocked | None:
    """Take one of each, or none of them. The rows stay locked until commit, so that parking cannot miss a wake."""
    for want in wants:
        row = _locked(conn, want.slot)
        if row.paused_ms > 0:
            return Blocked(want.slot, delay_ms=row.paused_ms)
        if want.cap is not None and row.used >= want.cap:
            return Blocked(want.slot)
    names = [want.slot for want in wants]
    conn.execute(update(slots).where(slots.c.name.in_(names)).values(used=slots.c.used + 1))
    return None


def _locked(conn: Connection, name: str) -> Any:
    query = (
        select(slots.c.used, (slots.c.paused_until - now_ms()).label("paused_ms"))
        .where(slots.c.name == name)
        .with_for_update()
    )
    row = conn.execute(query).one_or_none()
    if row is None:
        make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
        conn.execute(make(slots).values(name=name, used=0, paused_until=0).on_conflict_do_nothing())
        row = conn.execute(query).one()
    return row


def free(conn: Connection, names: Sequence[str]) -> None:
    """Give one of each back and wake the most urgent job that waits for it."""
    for name in names:
        conn.execute(update(slots).where(slots.c.name == name).values(used=slots.c.used - 1))
        unpark(conn, name, 1)


def unpark(conn: Connection, name: str, count: int) -> int:
    """Make the `count` most urgent jobs parked for this slot due now."""
    first = (
        select(jobs.c.id)
        .where(jobs.c.parked_for == name)
        .order_by(jobs.c.priority, jobs.c.id)
        .limit(count)
        .with_for_update(skip_locked=True)
    )
    return conn.execute(
        update(jobs).where(jobs.c.id.in_(first.scalar_subquery())).values(due=now_ms(), parked_for=None)
    ).rowcount


def pause(conn: Connection, name: str, delay_ms: int) -> None:
    """Send nothing new to this upstream for a while (429 with Retry-After)."""
    conn.execute(
        update(slots)
        .where(slots.c.name == name, slots.c.paused_until < now_ms() + delay_ms)
        .values(paused_until=now_ms() + delay_ms)
    )


def verify(conn: Connection) -> list[str]:
    """Set every counter to what the attempts say; answers what was wrong, one sentence each."""
    query = select(slots.c.name, slots.c.used).order_by(slots.c.name).with_for_update()  # key before upstream
    held = {row.name: row.used for row in conn.execute(query)}
    counts = [*conn.execute(_counts_by_upstream()), *conn.execute(_counts_by_key())]
    true = {str(name): int(used) for name, used in counts}
    wrong: list[str] = []
    for name, used in held.items():
        if used != true.get(name, 0):
            wrong.append(f"slot counter {name} said {used}, attempts say {true.get(name, 0)}")
            conn.execute(update(slots).where(slots.c.name == name).values(used=true.get(name, 0)))
    for name in true.keys() - held.keys():
        wrong.append(f"slot counter {name} was missing, attempts say {true[name]}")
        conn.execute(insert(slots).values(name=name, used=true[name]))
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


def _counts_by_key() -> Any:
    name = literal("key:").concat(videos.c.key_id)
    return (
        select(name, func.count())
        .join(attempts, attempts.c.video_id == videos.c.id)
        .where(attempts.c.holds_key_slot)
        .group_by(videos.c.key_id)
    )
