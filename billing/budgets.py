"""Budgets: how much an organization, project, key or end user may spend in a UTC day or month, in money or seconds.

A hold counts in the period of its creation; its capture or release corrects that period. Budget rows are locked
after the organization's balance, in the order organization, project, key, user, so that no two creates deadlock or
pass the same limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    case,
    delete,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.bulk_insert import BulkInsert
from billing.money import format_usd
from billing.tables import budget_holds, budget_periods, budgets

Scope = Literal["organization", "project", "key", "user"]
Period = Literal["day", "month"]
Unit = Literal["usd", "seconds"]

DAY_MS: Final = 86_400_000
MARKS: Final = (50, 80, 100)
"""Percentages of a budget that are told."""

_ORDER: Final = case({"organization": 0, "project": 1, "key": 2, "user": 3}, value=budgets.c.scope)
_ACTIVE: Final = (
    select(budgets)
    .where(budgets.c.organization_id == bindparam("organization"), budgets.c.archived_at.is_(None))
    .order_by(_ORDER, budgets.c.id)
)
_PERIODS: Final = (
    select(budget_periods)
    .where(
        tuple_(budget_periods.c.budget_id, budget_periods.c.period_start).in_(
            bindparam("pairs", expanding=True)
        )
    )
    .order_by(budget_periods.c.budget_id, budget_periods.c.period_start)
    .with_for_update()
)
_COUNT: Final = (
    update(budget_periods)
    .where(
        budget_periods.c.budget_id == bindparam("budget"),
        budget_periods.c.period_start == bindparam("start", type_=BigInteger),
    )
    .values(
        used=budget_periods.c.used + bindparam("more", type_=BigInteger),
        alerted=bindparam("told"),
        most=bindparam("cap", type_=BigInteger),
    )
)
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
_HOLD: Final = BulkInsert(budget_holds, ("subject", "budget_id", "period_start", "amount"))
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
class Spender:
    """Who spends below the organization."""

    project_id: str
    key_id: str
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """What one hold would count: micro-USD and milliseconds of video, at a time in milliseconds."""

    subject: str
    organization_id: str
    spender: Spender | None
    amount_micros: int
    length_ms: int
    at: int

    def of_unit(self, unit: str) -> int:
        """Read it as a budget of this unit counts."""
        return self.amount_micros if unit == "usd" else self.length_ms


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


@dataclass(slots=True)
class Counted:
    """The budgets of one organization while a batch of holds is decided; nothing is written before `write`."""

    active: Sequence[Any] = ()
    used: dict[tuple[str, int], int] = field(default_factory=dict)
    told: dict[tuple[str, int], int] = field(default_factory=dict)
    more: dict[tuple[str, int], int] = field(default_factory=dict)
    holds: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[BudgetAlert] = field(default_factory=list)
    _seen: dict[str, list[tuple[Any, tuple[str, int], int]]] = field(default_factory=dict)

    def refusal(self, spend: Spend) -> BudgetExceeded | None:
        """Name the first hard budget that does not cover it."""
        for budget, key, amount in self._of(spend):
            if budget.hard and self.used[key] + amount > budget.amount:
                return BudgetExceeded(budget, key[1], self.used[key])
        return None

    def take(self, spend: Spend) -> None:
        """Count it."""
        for budget, key, amount in self._of(spend):
            used = self.used[key] = self.used[key] + amount
            self.more[key] = self.more.get(key, 0) + amount
            self.holds.append(
                {"subject": spend.subject, "budget_id": key[0], "period_start": key[1], "amount": amount}
            )
            told = self.told[key]
            if told < MARKS[-1] and (percent := mark_reached(budget.amount, used)) > told:
                self.told[key] = percent
                self.alerts.append(BudgetAlert(budget, key[1], percent, used))

    def write(self, conn: Connection) -> None:
        """Write what was counted. An IntegrityError if a hard budget was passed all the same: nothing stands then."""
        by_id = {budget.id: budget for budget in self.active}
        rows = [
            {
                "budget": key[0],
                "start": key[1],
                "more": more,
                "told": self.told[key],
                "cap": by_id[key[0]].amount if by_id[key[0]].hard else None,
            }
            for key, more in sorted(self.more.items())
        ]
        if rows:
            conn.execute(_COUNT, rows)
        if self.holds:
            _HOLD(conn, self.holds)

    def _of(self, spend: Spend) -> Sequence[tuple[Any, tuple[str, int], int]]:
        """The budgets that count it, with the period and the amount: looked up once."""
        found = self._seen.get(spend.subject)
        if found is None:
            found = self._seen[spend.subject] = [
                (budget, (budget.id, period_start(budget.period, spend.at)), spend.of_unit(budget.unit))
                for budget in self.active
                if _counts(budget, spend)
            ]
        return found


def mark_reached(amount: int, used: int) -> int:
    """Find the highest of MARKS that `used` has reached, 0 for none."""
    return max((mark for mark in MARKS if used * 100 >= amount * mark and used > 0), default=0)


def lock(conn: Connection, organization_id: str, spends: Sequence[Spend]) -> Counted:
    """Read the budgets that these holds count in, and lock their periods. The balance is locked already."""
    active = [
        budget
        for budget in conn.execute(_ACTIVE, {"organization": organization_id})
        if any(_counts(budget, spend) for spend in spends)
    ]
    if not active:
        return Counted()
    moments = {spend.at - spend.at % DAY_MS for spend in spends}
    pairs = sorted({(budget.id, period_start(budget.period, at)) for budget in active for at in moments})
    counted = Counted(active)
    if not _read_periods(conn, counted, pairs):
        make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
        conn.execute(
            make(budget_periods).on_conflict_do_nothing(),
            [
                {"budget_id": budget, "period_start": start, "used": 0, "alerted": 0}
                for budget, start in pairs
            ],
        )
        _read_periods(conn, counted, pairs)
    return counted


def _read_periods(conn: Connection, counted: Counted, pairs: Sequence[tuple[str, int]]) -> bool:
    """Lock the periods and read them; False where one is not there yet."""
    for row in conn.execute(_PERIODS, {"pairs": pairs}):
        counted.used[row.budget_id, row.period_start] = row.used
        counted.told[row.budget_id, row.period_start] = row.alerted
    return len(counted.used) == len(pairs)


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


def _counts(budget: Any, spend: Spend) -> bool:
    if budget.scope == "organization":
        return bool(budget.scope_id == spend.organization_id)
    who = spend.spender
    if who is None:
        return False
    if budget.scope == "key":
        return bool(budget.scope_id == who.key_id)
    return bool(budget.scope_id == (who.project_id if budget.scope == "project" else who.user))
