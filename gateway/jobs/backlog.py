"""How much work there is: jobs by state, the age of the oldest, and what runs on each upstream."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from gateway.db import now_ms
from gateway.jobs.tables import jobs, slots
from providers.spec import account_of_server

_UPSTREAM_SLOT: Final = "upstream:"


@dataclass(frozen=True, slots=True)
class Backlog:
    """`oldest_ms`: for how long the oldest job that nobody works on has been due. `in_flight`: videos by upstream."""

    by_state: dict[str, int]
    oldest_ms: int
    in_flight: dict[str, int]


def backlog(conn: Connection) -> Backlog:
    """Count what there is now."""
    counted = conn.execute(select(jobs.c.state, func.count().label("jobs")).group_by(jobs.c.state))
    by_state = {row.state: int(row.jobs) for row in counted}
    idle = jobs.c.lease_until <= now_ms()
    age = conn.execute(select(now_ms() - func.min(jobs.c.due)).where(jobs.c.due <= now_ms(), idle))
    return Backlog(by_state, max(0, int(age.scalar_one() or 0)), _in_flight(conn))


def _in_flight(conn: Connection) -> dict[str, int]:
    """The servers of a fleet are one upstream."""
    held = select(slots.c.name, slots.c.used).where(slots.c.name.startswith(_UPSTREAM_SLOT), slots.c.used > 0)
    found: Counter[str] = Counter()
    for row in conn.execute(held):
        found[account_of_server(row.name.removeprefix(_UPSTREAM_SLOT))] += row.used
    return dict(found)
