"""Holds against budgets: decided for a whole batch in memory, written once.

Budget rows are locked after the organization's balance, in the order organization, project, key, user, so that no
two creates deadlock or pass the same limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, bindparam, case, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.budgets import (
    DAY_MS,
    BudgetAlert,
    BudgetExceeded,
    mark_after,
    mark_reached,
    period_start,
)
from billing.bulk_insert import BulkInsert
from billing.holds import Hold, Spender
from billing.tables import budget_holds, budget_periods, budgets

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
_HOLD: Final = BulkInsert(budget_holds, ("subject", "budget_id", "period_start", "amount"))


@dataclass(slots=True)
class _Running:
    """One period of a budget: what is used of it, with what the batch adds."""

    budget: Any
    start: int
    used: int
    told: int
    most: int | None
    in_money: bool
    next_mark: int | None
    more: int = 0

    @classmethod
    def of(cls, budget: Any, row: Any) -> "_Running":
        """Read a period's row."""
        most = budget.amount if budget.hard else None
        mark = mark_after(budget.amount, row.alerted)
        return cls(budget, row.period_start, row.used, row.alerted, most, budget.unit == "usd", mark)


@dataclass(slots=True)
class BudgetBatch:
    """The budgets of one organization while a batch of holds is decided; nothing is written before `write`."""

    active: Sequence[Any] = ()
    alerts: list[BudgetAlert] = field(default_factory=list)
    _running: dict[tuple[str, int], _Running] = field(default_factory=dict)
    _holds: list[dict[str, Any]] = field(default_factory=list)
    _counting: dict[tuple[Spender | None, int], list[_Running]] = field(default_factory=dict)

    def refusal(self, hold: Hold) -> BudgetExceeded | None:
        """Name the first hard budget that does not cover it."""
        for each in self._of(hold):
            amount = hold.amount_micros if each.in_money else hold.length_ms
            if each.most is not None and each.used + amount > each.most:
                return BudgetExceeded(each.budget, each.start, each.used)
        return None

    def take(self, hold: Hold) -> None:
        """Count it."""
        for each in self._of(hold):
            amount = hold.amount_micros if each.in_money else hold.length_ms
            each.used += amount
            each.more += amount
            self._holds.append(
                {
                    "subject": hold.subject,
                    "budget_id": each.budget.id,
                    "period_start": each.start,
                    "amount": amount,
                }
            )
            if each.next_mark is not None and each.used >= each.next_mark:
                self._alert(each)

    def write(self, conn: Connection) -> None:
        """Write what was counted. An IntegrityError if a hard budget was passed all the same: nothing stands then."""
        rows = [
            {"budget": key[0], "start": key[1], "more": each.more, "told": each.told, "cap": each.most}
            for key, each in sorted(self._running.items())
            if each.more
        ]
        if rows:
            conn.execute(_COUNT, rows)
        if self._holds:
            _HOLD(conn, self._holds)

    def _alert(self, each: _Running) -> None:
        percent = mark_reached(each.budget.amount, each.used)
        if percent > each.told:
            each.told = percent
            self.alerts.append(BudgetAlert(each.budget, each.start, percent, each.used))
        each.next_mark = mark_after(each.budget.amount, each.told)

    def _of(self, hold: Hold) -> list[_Running]:
        """The periods that count it: looked up once per spender and day."""
        key = hold.spender, hold.created_at // DAY_MS
        found = self._counting.get(key)
        if found is None:
            found = self._counting[key] = [
                self._running[budget.id, period_start(budget.period, hold.created_at)]
                for budget in self.active
                if _counts(budget, hold)
            ]
        return found

    def read_periods(self, conn: Connection, pairs: Sequence[tuple[str, int]]) -> bool:
        """Lock the periods and read them; False where one is not there yet."""
        by_id = {budget.id: budget for budget in self.active}
        for row in conn.execute(_PERIODS, {"pairs": pairs}):
            self._running[row.budget_id, row.period_start] = _Running.of(by_id[row.budget_id], row)
        return len(self._running) == len(pairs)


def lock(conn: Connection, organization_id: str, holds: Sequence[Hold]) -> BudgetBatch:
    """Read the budgets that these holds count in, and lock their periods. The balance is locked already."""
    spenders = {hold.spender: hold for hold in holds}.values()
    active = [
        budget
        for budget in conn.execute(_ACTIVE, {"organization": organization_id})
        if any(_counts(budget, hold) for hold in spenders)
    ]
    if not active:
        return BudgetBatch()
    moments = {hold.created_at - hold.created_at % DAY_MS for hold in holds}
    pairs = sorted({(budget.id, period_start(budget.period, at)) for budget in active for at in moments})
    batch = BudgetBatch(active)
    if not batch.read_periods(conn, pairs):
        make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
        conn.execute(
            make(budget_periods).on_conflict_do_nothing(),
            [
                {"budget_id": budget, "period_start": start, "used": 0, "alerted": 0}
                for budget, start in pairs
            ],
        )
        batch.read_periods(conn, pairs)
    return batch


def _counts(budget: Any, hold: Hold) -> bool:
    if budget.scope == "organization":
        return bool(budget.scope_id == hold.organization_id)
    who = hold.spender
    if who is None:
        return False
    if budget.scope == "key":
        return bool(budget.scope_id == who.key_id)
    return bool(budget.scope_id == (who.project_id if budget.scope == "project" else who.user))
