"""What every poll of an attempt found. No body, no uniqueness: rows come in bulk and go by the month.

On PostgreSQL the table is partitioned by month: `gateway.log_months` makes partitions ahead and drops old ones. What
falls into none lies in the default partition, so that a poll never fails for its log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    bindparam,
    event,
    insert,
    select,
)

from gateway.db import metadata, now_ms

poll_log = Table(
    "poll_log",
    metadata,
    Column("attempt_id", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("outcome", String(32), nullable=False),  # running | completed | the kind of error
    Column("progress", Integer),
    Column("http_status", Integer),
    Index("ix_poll_log_attempt_id_at", "attempt_id", "at"),
    postgresql_partition_by="RANGE (at)",
)
DEFAULT_PARTITION: Final = "poll_log_rest"


@event.listens_for(poll_log, "after_create")
def _make_default(_table: Table, conn: Connection, **_kw: Any) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(f"CREATE TABLE {DEFAULT_PARTITION} PARTITION OF poll_log DEFAULT")


SHOWN: Final = 100
"""So many polls of an attempt are shown, the latest."""

_WRITE: Final = insert(poll_log).values(
    attempt_id=bindparam("attempt_id"),
    at=now_ms(),
    outcome=bindparam("outcome"),
    progress=bindparam("progress"),
    http_status=bindparam("http_status"),
)


@dataclass(frozen=True, slots=True)
class Polled:
    """One answer, or none: `outcome` is the upstream's word, or the kind of error."""

    attempt_id: str
    outcome: str
    progress: int | None = None
    http_status: int | None = None


def log_polls(conn: Connection, polls: Sequence[Polled]) -> None:
    """Write them, one statement, in the transaction that acts on what they found."""
    if polls:
        conn.execute(
            _WRITE,
            [
                {
                    "attempt_id": each.attempt_id,
                    "outcome": each.outcome,
                    "progress": each.progress,
                    "http_status": each.http_status,
                }
                for each in polls
            ],
        )


def polls_of(conn: Connection, attempt_ids: Sequence[str]) -> dict[str, Sequence[Any]]:
    """The latest polls of each attempt, oldest first."""
    found: dict[str, Sequence[Any]] = {}
    for attempt_id in attempt_ids:
        query = select(poll_log).where(poll_log.c.attempt_id == attempt_id)
        found[attempt_id] = conn.execute(query.order_by(poll_log.c.at.desc()).limit(SHOWN)).all()[::-1]
    return found
