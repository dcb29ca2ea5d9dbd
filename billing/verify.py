"""`onereel ledger verify`: what must be true of the ledger at any moment, read back from the rows."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, case, exists, func, select

from billing.tables import balances, budget_holds, budget_periods, credit_lots, entries, hold_lots, lines

_SETTLED: Final = ("capture", "release")


def verify(conn: Connection) -> list[str]:
    """Every broken rule as one sentence; empty when the books are right."""
    return (
        _unbalanced(conn)
        + _balances(conn)
        + _lots(conn)
        + _settlements(conn)
        + _captures_above_hold(conn)
        + _left_behind(conn, hold_lots)
        + _left_behind(conn, budget_holds)
        + _budgets(conn)
    )


def _unbalanced(conn: Connection) -> list[str]:
    total = func.coalesce(func.sum(lines.c.amount), 0)
    rows = conn.execute(
        select(entries.c.id, total)
        .outerjoin(lines, lines.c.entry_id == entries.c.id)
        .group_by(entries.c.id)
        .having((total != 0) | (func.count(lines.c.account) == 0))
    )
    return [f"entry {row[0]} does not sum to zero ({row[1]})" for row in rows]


def _sum_of(account: str) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((lines.c.account == account, lines.c.amount), else_=0)), 0)


def _balances(conn: Connection) -> list[str]:
    accounts = ("customer", "promotional", "held", "receivable")
    columns: list[Any] = [entries.c.organization_id, *(_sum_of(account) for account in accounts)]
    rows = conn.execute(
        select(*columns).join(lines, lines.c.entry_id == entries.c.id).group_by(entries.c.organization_id)
    )
    sums = {row[0]: (int(row[1]), int(row[2]), int(row[3]), -int(row[4])) for row in rows}
    problems: list[str] = []
    for row in conn.execute(select(balances)):
        expected = sums.pop(row.organization_id, (0, 0, 0, 0))
        found = (row.available, row.promotional, row.held, row.receivable)
        if expected != found:
            problems.append(
                f"organization {row.organization_id}: balance (available, promotional, held, receivable) {found}, "
                f"entries say {expected}"
            )
    return problems + [f"organization {name} has entries but no balance" for name in sums]


def _lots(conn: Connection) -> list[str]:
    left = func.coalesce(func.sum(credit_lots.c.remaining), 0)
    rows = conn.execute(
        select(balances.c.organization_id, balances.c.promotional, left)
        .outerjoin(credit_lots, credit_lots.c.organization_id == balances.c.organization_id)
        .group_by(balances.c.organization_id, balances.c.promotional)
        .having(left != balances.c.promotional)
    )
    return [f"organization {row[0]}: {row[1]} promotional credit, its lots have {row[2]}" for row in rows]


def _settlements(conn: Connection) -> list[str]:
    settled = func.sum(case((entries.c.kind.in_(_SETTLED), 1), else_=0))
    held = func.sum(case((entries.c.kind == "hold", 1), else_=0))
    rows = conn.execute(
        select(entries.c.subject, settled, held)
        .where(entries.c.kind.in_(("hold", *_SETTLED)))
        .group_by(entries.c.subject)
        .having((settled > 1) | (settled > held))
    )
    return [f"{row[0]} was settled {row[1]} times and held {row[2]} times" for row in rows]


def _captures_above_hold(conn: Connection) -> list[str]:
    """A capture or release resolves exactly what the hold set aside, and charges no more than that."""
    hold, taken, back, revenue = entries.alias(), lines.alias(), lines.alias(), lines.alias()
    rows = conn.execute(
        select(entries.c.subject, taken.c.amount, -back.c.amount, func.coalesce(revenue.c.amount, 0))
        .join(hold, and_(hold.c.subject == entries.c.subject, hold.c.kind == "hold"))
        .join(taken, and_(taken.c.entry_id == hold.c.id, taken.c.account == "held"))
        .join(back, and_(back.c.entry_id == entries.c.id, back.c.account == "held"))
        .outerjoin(revenue, and_(revenue.c.entry_id == entries.c.id, revenue.c.account == "revenue"))
        .where(
            entries.c.kind.in_(_SETTLED),
            (taken.c.amount != -back.c.amount) | (func.coalesce(revenue.c.amount, 0) > taken.c.amount),
        )
    )
    return [
        f"{row[0]} was held with {row[1]}, resolved with {row[2]} and charged {row[3]}: more than was held"
        for row in rows
    ]


def _left_behind(conn: Connection, table: Table) -> list[str]:
    """What belongs to open holds goes when they are resolved."""
    resolved = exists().where(entries.c.subject == table.c.subject, entries.c.kind.in_(_SETTLED))
    rows = conn.execute(select(table.c.subject).where(resolved).distinct())
    return [f"{table.name} still has {row[0]}, which is settled" for row in rows]


def _budgets(conn: Connection) -> list[str]:
    counted = func.sum(budget_holds.c.amount)
    rows = conn.execute(
        select(budget_periods.c.budget_id, budget_periods.c.used, counted)
        .join(
            budget_holds,
            and_(
                budget_holds.c.budget_id == budget_periods.c.budget_id,
                budget_holds.c.period_start == budget_periods.c.period_start,
            ),
        )
        .group_by(budget_periods.c.budget_id, budget_periods.c.period_start, budget_periods.c.used)
        .having(counted > budget_periods.c.used)
    )
    return [f"budget {row[0]} counts {row[1]}, its open holds alone are {row[2]}" for row in rows]
