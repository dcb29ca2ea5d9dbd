"""The months of the logs: on PostgreSQL partitions made ahead and dropped whole, on SQLite rows deleted in batches."""

import re
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, text

from gateway.jobs.poll_log import poll_log

AHEAD: Final = 2
"""Months beyond the present one."""
BATCH: Final = 2000
_MONTH: Final = re.compile(rf"{poll_log.name}_(\d{{4}})_(\d{{2}})")
_LOCK: Final = 727274002
_PARTITIONS: Final = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'poll_log'::regclass"
)
_OLD_ROWS: Final = text(
    "DELETE FROM poll_log WHERE rowid IN (SELECT rowid FROM poll_log ORDER BY rowid LIMIT :batch) AND at < :before"
)


def tend(conn: Connection, now: int, before: int) -> int:
    """Make what the next months need, drop what is wholly before the time: how many rows (SQLite) or months went.

    One call on SQLite takes one batch; a number below BATCH says that no more is to be done.
    """
    if conn.dialect.name != "postgresql":
        return conn.execute(_OLD_ROWS, {"batch": BATCH, "before": before}).rowcount
    if not conn.execute(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": _LOCK}).scalar():
        return 0  # another process is at it
    # dropping waits for whoever reads, and everyone else waits behind it
    conn.execute(text("SET LOCAL lock_timeout = 500"))
    make_months(conn, now)
    return _drop_months(conn, before)


def make_months(conn: Connection, now: int) -> None:
    """Make the partitions of the present and the next months, where rows of them are not in the default one."""
    there = set(conn.execute(_PARTITIONS).scalars())
    moment = datetime.fromtimestamp(now / 1000, UTC)
    for n in range(AHEAD + 1):
        begin, end = _month(moment.year, moment.month + n), _month(moment.year, moment.month + n + 1)
        name = f"{poll_log.name}_{begin:%Y_%m}"
        if name not in there and not _has_rows(conn, begin, end):
            bounds = f"FROM ({_ms(begin)}) TO ({_ms(end)})"
            conn.execute(text(f"CREATE TABLE {name} PARTITION OF {poll_log.name} FOR VALUES {bounds}"))


def _drop_months(conn: Connection, before: int) -> int:
    dropped = 0
    for name in conn.execute(_PARTITIONS).scalars().all():
        found = _MONTH.fullmatch(name)
        if found is not None and _ms(_month(int(found[1]), int(found[2]) + 1)) <= before:
            conn.execute(text(f"DROP TABLE {name}"))
            dropped += 1
    conn.execute(text("DELETE FROM poll_log_rest WHERE at < :before"), {"before": before})
    return dropped


def _has_rows(conn: Connection, begin: datetime, end: datetime) -> bool:
    query = text("SELECT 1 FROM poll_log_rest WHERE at >= :begin AND at < :end LIMIT 1")
    return conn.execute(query, {"begin": _ms(begin), "end": _ms(end)}).first() is not None


def _month(year: int, month: int) -> datetime:
    return datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=UTC)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
