"""The circuit breaker of an upstream: its columns in `slots`, so that every process sees the same one.

Closed: so many failures within a window open it. Open: nothing new is sent until the cool-down ends. Half-open: one
video is sent (see `gateway.jobs.slots.Room`); it closes the breaker, or opens it again for twice as long.
A refusal to take videos and jobs that end badly are told apart: only what failed can prove that it works again.
"""

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Connection, bindparam, or_, select, update

from gateway.db import now_ms
from gateway.jobs.slots import make_sure, upstream_slot
from gateway.jobs.tables import slots
from gateway.settings import Routing

Failing = Literal["submit", "job"]

_FAILED: Final = (
    select(slots.c.failures, slots.c.failed_at, slots.c.opened, slots.c.paused_until, now_ms().label("now"))
    .where(slots.c.name == bindparam("slot"))
    .with_for_update()
)
_CLOSE: Final = (
    update(slots)
    .where(
        slots.c.name == bindparam("slot"),
        slots.c.failing == bindparam("what"),
        or_(slots.c.failures > 0, slots.c.opened > 0),
    )
    .values(failures=0, failing=None, opened=0, probe_until=0)
)
_LIFT: Final = (
    update(slots)
    .where(
        or_(slots.c.name == bindparam("slot"), slots.c.name.startswith(bindparam("servers"))),
        slots.c.opened > 0,
    )
    .values(paused_until=0, failures=0, failing=None, opened=0, probe_until=0)
)
_STANDINGS: Final = select(
    slots.c.name,
    slots.c.failures,
    slots.c.failing,
    slots.c.opened,
    (slots.c.paused_until - now_ms()).label("paused_ms"),
    (slots.c.probe_until - now_ms()).label("probing_ms"),
    (now_ms() - slots.c.opened_at).label("open_for_ms"),
).where(slots.c.name.startswith("upstream:"), or_(slots.c.failures > 0, slots.c.opened > 0))


@dataclass(frozen=True, slots=True)
class Reading:
    """A breaker at the moment when it was read. `open_for_ms`: since it opened first, half-open times included."""

    failures: int
    failing: str | None
    opened: int
    paused_ms: int
    probing_ms: int
    open_for_ms: int


def failed(conn: Connection, upstream: str, what: Failing, rules: Routing) -> bool:
    """Count a failure; True where it opens the breaker. One that is open stays as it is: it is old news."""
    slot = upstream_slot(upstream)
    make_sure(conn, slot)
    row = conn.execute(_FAILED, {"slot": slot}).one()
    if row.opened and row.paused_until > row.now:
        return False
    recent = row.now - row.failed_at < rules.failure_window_seconds * 1000
    failures = row.failures + 1 if recent else 1
    values: dict[str, object] = {"failures": failures, "failing": what, "failed_at": row.now}
    opens = bool(row.opened) or failures >= rules.failure_threshold
    if opens:
        seconds = min(rules.cool_down_seconds * 2**row.opened, rules.longest_cool_down_seconds)
        values |= {"opened": row.opened + 1, "paused_until": row.now + int(seconds * 1000), "probe_until": 0}
        if not row.opened:
            values["opened_at"] = row.now
    conn.execute(update(slots).where(slots.c.name == slot).values(**values))
    return opens


def succeeded(conn: Connection, upstream: str, what: Failing) -> bool:
    """What had failed works: no failures any more. True where there were some."""
    return conn.execute(_CLOSE, {"slot": upstream_slot(upstream), "what": what}).rowcount > 0


def lift(conn: Connection, upstream: str) -> None:
    """Close it because the operator says so, and those of its servers where it is a fleet."""
    conn.execute(_LIFT, {"slot": upstream_slot(upstream), "servers": upstream_slot(f"{upstream}@")})


def readings(conn: Connection) -> dict[str, Reading]:
    """Every upstream whose breaker is not at rest, by name."""
    prefix = len(upstream_slot(""))
    return {
        row.name[prefix:]: Reading(
            row.failures, row.failing, row.opened, row.paused_ms, row.probing_ms, row.open_for_ms
        )
        for row in conn.execute(_STANDINGS)
    }
