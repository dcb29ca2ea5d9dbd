"""How long upstreams really take: medians of the newest completed attempts."""

from collections import defaultdict
from statistics import median
from typing import Final

from sqlalchemy import Connection, select

from gateway.jobs.tables import attempts
from providers.spec import account_of_server

_NEWEST: Final = 2000
_FEWEST: Final = 3
_FINISHED: Final = (
    select(attempts.c.upstream, attempts.c.upstream_model, attempts.c.submitted_at, attempts.c.finished_at)
    .where(attempts.c.state == "completed")
    .order_by(attempts.c.id.desc())  # an id begins with its time
    .limit(_NEWEST)
)


def medians(conn: Connection) -> dict[tuple[str, str], float]:
    """Seconds from acceptance to the stored file, by upstream (all servers of a fleet together) and its model; only where three were measured."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in conn.execute(_FINISHED):
        if row.submitted_at is not None and row.finished_at is not None:
            found[account_of_server(row.upstream), row.upstream_model].append(
                (row.finished_at - row.submitted_at) / 1000
            )
    return {key: median(times) for key, times in found.items() if len(times) >= _FEWEST}
