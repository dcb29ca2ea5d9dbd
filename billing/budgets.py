"""Budgets: how much an organization, project, key or end user may spend in a UTC day or month, in money or seconds.

A hold counts in the period of its creation; its capture or release corrects that period. Budget rows are locked
after the organization's balance, in the order organization, project, key, user, so that no two creates deadlock or
pass the same limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    delete,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.money import format_usd
from billing.tables import budget_holds, budget_periods, budgets

Scope = Literal["organization", "project", "key", "user"]
Period = Literal["day", "month"]
Unit = Literal["usd", "seconds"]

DAY_MS: Final = 86_400_000
MARKS: Final = (50, 80, 100)
"""Percentages of a budget that are told."""

_CORRECT: Final = (
    update(budget_periods)
    .where(
        budget_periods.c.budget_id == bindparam("budget"),
        budget_periods.c.period_start == bindparam("start", type_=BigInteger),
    )
    .values(used=budget_periods.c.used + bindparam("more", type_=BigInteger))
)
_HOLDS: Final = (
    select(budget_holds, budgets.c.unit)
    .join(budgets, budgets.c.id == budget_holds.c.budget_id)
    .where(budget_holds.c.subject.in_(bindparam("subjects", expanding=True)))
)
_COUNT_VIDEOS: Final = {
    name: make(budget_periods)
    .on_conflict_do_update(
        index_elements=["budget_id", "period_start"],
        set_={"used": budget_periods.c.used + literal_column("excluded.used", BigInteger)},
    )
    .returning(budget_periods.c.used)
    for name, make in (("sqlite", sqlite_insert), ("postgresql", postgres_insert))
}
_FORGET: Final = delete(budget_holds).where(budget_holds.c.subject.in_(bindparam("subjects", expanding=True)))


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """A budget reached `percent` of its amount in the period that began at `period_start` (milliseconds)."""

    budget: Any
    period_start: int
    percent: int
    used: int


class BudgetExceeded(Exception):
    """A hard budget does not cover the hold; `budget` is its row."""

    def __init__(self, budget: Any, period_start: int, used: int) -> None:
        left = text_of(budget.unit, max(0, budget.amount - used))
        of = text_of(budget.unit, budget.amount)
        super().__init__(
            f"The {budget.period}'s budget of this {budget.scope} has {left} of {of} left, too little for this video."
        )
        self.budget = budget
        self.period_start = period_start
        self.used = used


def period_start(period: str, at: int) -> int:
    """When the UTC day or month of a time began (milliseconds)."""
    day = at - at % DAY_MS
    return day if period == "day" else _month_of(day)


@lru_cache(maxsize=64)
def _month_of(day: int) -> int:
    return int(datetime.fromtimestamp(day // 1000, UTC).replace(day=1).timestamp()) * 1000


def period_end(period: str, start: int) -> int:
    """When the period that began at `start` ends (milliseconds)."""
    return period_start(period, start + (25 if period == "day" else 32 * 24) * 3_600_000)


def text_of(unit: str, amount: int) -> str:
    """Write an amount for people: "12.500000 USD" or "90 s"."""
    return f"{format_usd(amount)} USD" if unit == "usd" else f"{seconds_text(amount)} s"


def seconds_text(milliseconds: int) -> str:
    """Write seconds without a needless zero: "8", "0.5"."""
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def mark_reached(amount: int, used: int) -> int:
    """Find the highest of MARKS that `used` has reached, 0 for none."""
    return max((mark for mark in MARKS if used * 100 >= amount * mark and used > 0), default=0)


def mark_after(amount: int, told: int) -> int | None:
    """How much must be used for the next of MARKS after `told` percent; None after the last."""
    mark = next((mark for mark in MARKS if mark > told), None)
    return None if mark is None else max(1, -(-amount * mark // 100))


def correct(conn: Connection, actual: Mapping[str, tuple[int, int | None]]) -> None:
    """Put what was really charged in the place of what was held, by subject (micro-USD, milliseconds; None: as held)."""
    rows = conn.execute(_HOLDS, {"subjects": list(actual)}).all() if actual else []
    if not rows:
        return
    more: dict[tuple[str, int], int] = {}
    for row in rows:
        micros, length_ms = actual[row.subject]
        value = micros if row.unit == "usd" else length_ms
        if value is not None and value != row.amount:
            key = (row.budget_id, row.period_start)
            more[key] = more.get(key, 0) + value - row.amount
    changes = [{"budget": key[0], "start": key[1], "more": delta} for key, delta in sorted(more.items())]
    if changes:
        conn.execute(_CORRECT, changes)
    conn.execute(_FORGET, {"subjects": sorted({row.subject for row in rows})})


def reset_marks(conn: Connection, budget_id: str, amount: int, start: int) -> None:
    """Tell marks anew where a budget has another amount, from what is used of it now."""
    where = (budget_periods.c.budget_id == budget_id) & (budget_periods.c.period_start == start)
    row = conn.execute(select(budget_periods.c.used).where(where).with_for_update()).first()
    if row is not None:
        conn.execute(update(budget_periods).where(where).values(alerted=mark_reached(amount, row.used)))


def count_videos(conn: Connection, organization_id: str, start: int, more: int) -> int:
    """Count accepted videos of a month for the plan's fast queue; answers how many there are now."""
    row = {"budget_id": f"fast:{organization_id}", "period_start": start, "used": more, "alerted": 0}
    return int(conn.execute(_COUNT_VIDEOS[conn.dialect.name], row).scalar_one())


def mark_exhausted(conn: Connection, refusal: BudgetExceeded) -> BudgetAlert | None:
    """Tell the 100 % mark where a hard budget has just refused a create; None if it was told in this period."""
    told = conn.execute(
        update(budget_periods)
        .where(
            budget_periods.c.budget_id == refusal.budget.id,
            budget_periods.c.period_start == refusal.period_start,
            budget_periods.c.alerted < MARKS[-1],
        )
        .values(alerted=MARKS[-1])
    )
    if told.rowcount != 1:
        return None
    return BudgetAlert(refusal.budget, refusal.period_start, MARKS[-1], refusal.used)
