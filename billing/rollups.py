"""Usage per hour and day, kept by the transaction that ends a video, so that a month is read from few rows.

Three families of rows share a table. Hours and days carry project, key and model; end users, who may be many, have
days of their own with nothing but their project, so that they multiply no other row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.tables import balances
from billing.usage_tables import usage_rollups

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
HOURS: Final = "h"
DAYS: Final = "d"
USER_DAYS: Final = "u"
GRAINS: Final = {HOURS: HOUR_MS, DAYS: DAY_MS, USER_DAYS: DAY_MS}
"""Family of rows, and how long its buckets are."""

KEYS: Final = tuple(column.name for column in usage_rollups.primary_key.columns)
MEASURES: Final = tuple(column.name for column in usage_rollups.columns if column.name not in KEYS)

_Key = tuple[str, str, int, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Usage:
    """One video that has just ended. `user_ref` is empty where the request named no user."""

    organization_id: str
    project_id: str
    key_id: str
    model: str
    user_ref: str
    ended_at: int
    completed: bool
    billed_ms: int
    revenue: int
    quoted: int
    upstream_cost: int

    @property
    def measures(self) -> tuple[int, ...]:
        """In the order of MEASURES."""
        fees = 0 if self.completed else self.revenue
        counts = (int(self.completed), int(not self.completed))
        return (*counts, self.billed_ms, self.revenue, fees, self.quoted, self.upstream_cost)

    @property
    def keys(self) -> tuple[_Key, ...]:
        """The rows that the video counts in."""
        return rows_of(
            self.organization_id,
            self.ended_at,
            project_id=self.project_id,
            key_id=self.key_id,
            model=self.model,
            user_ref=self.user_ref,
        )


def rows_of(
    organization_id: str, ended_at: int, *, project_id: str, key_id: str, model: str, user_ref: str
) -> tuple[_Key, ...]:
    """One key per family."""
    hour, day = ended_at - ended_at % HOUR_MS, ended_at - ended_at % DAY_MS
    return (
        (organization_id, HOURS, hour, project_id, key_id, model, ""),
        (organization_id, DAYS, day, project_id, key_id, model, ""),
        (organization_id, USER_DAYS, day, project_id, "", "", user_ref),
    )


def _upsert(make: Any) -> Any:
    """Insert or add. Built once per database: making a statement costs as much as running it."""
    insert = make(usage_rollups)
    added = {name: usage_rollups.c[name] + insert.excluded[name] for name in MEASURES}
    return insert.on_conflict_do_update(index_elements=list(KEYS), set_=added)


_UPSERTS: Final = {"sqlite": _upsert(sqlite_insert), "postgresql": _upsert(postgres_insert)}
_IS_ROW: Final = tuple(usage_rollups.c[name] == bindparam(f"key_{name}") for name in KEYS)
_CORRECT: Final = (
    update(usage_rollups)
    .where(*_IS_ROW)
    .values(upstream_cost=usage_rollups.c.upstream_cost + bindparam("more", type_=BigInteger))
)
_LOCK: Final = (
    select(balances.c.organization_id)
    .where(balances.c.organization_id == bindparam("organization"))
    .with_for_update()
)


def record_usage(conn: Connection, items: Sequence[Usage]) -> None:
    """Count videos that end in this transaction: one statement, each row of the table written once, in key order.

    Call it after the ledger: whoever settles holds the organization's balance first, so nobody waits here.
    """
    totals: dict[_Key, list[int]] = {}
    for item in items:
        for key in item.keys:
            sums = totals.setdefault(key, [0] * len(MEASURES))
            for n, amount in enumerate(item.measures):
                sums[n] += amount
    rows = [
        dict(zip(KEYS, key, strict=True)) | dict(zip(MEASURES, totals[key], strict=True))
        for key in sorted(totals)
    ]
    if rows:
        conn.execute(_UPSERTS[conn.dialect.name], rows)


def correct_upstream_cost(conn: Connection, item: Usage, more: int) -> None:
    """Add what an upstream charged for a video that was counted before, in the same buckets."""
    if not more:
        return
    conn.execute(_LOCK, {"organization": item.organization_id})  # in the order of a settle
    keys = [{f"key_{name}": each for name, each in zip(KEYS, key, strict=True)} for key in sorted(item.keys)]
    conn.execute(_CORRECT, [{**key, "more": more} for key in keys])
