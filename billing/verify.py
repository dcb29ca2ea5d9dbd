"""`onereel ledger verify`: what must be true of the ledger at any moment, read back from the rows."""

from sqlalchemy import ColumnElement, Connection, case, func, select

from billing.tables import balances, entries, lines


def verify(conn: Connection) -> list[str]:
    """Every broken rule as one sentence; empty when the books are right."""
    return _unbalanced(conn) + _balances(conn) + _double_settled(conn) + _captures_above_hold(conn)


def _unbalanced(conn: Connection) -> list[str]:
    total = func.coalesce(func.sum(lines.c.amount), 0)
    rows = conn.execute(
        select(entries.c.id, total)
        .outerjoin(lines, lines.c.entry_id == entries.c.id)
        .group_by(entries.c.id)
        .having((total != 0) | (func.count(lines.c.account) == 0))
    )
    return [f"entry {row[0]} does not sum to zero ({row[1]})" for row in rows]


def _balances(conn: Connection) -> list[str]:
    def of(account: str) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((lines.c.account == account, lines.c.amount), else_=0)), 0)

    sums = {
        row.organization_id: (int(row.customer), int(row.held))
        for row in conn.execute(
            select(entries.c.organization_id, of("customer").label("customer"), of("held").label("held"))
            .join(lines, lines.c.entry_id == entries.c.id)
            .group_by(entries.c.organization_id)
        )
    }
    problems: list[str] = []
    for row in conn.execute(select(balances)):
        expected = sums.pop(row.organization_id, (0, 0))
        if expected != (row.available, row.held):
            problems.append(
                f"organization {row.organization_id}: balance {row.available} available, {row.held} held, "
                f"entries say {expected[0]} and {expected[1]}"
            )
    return problems + [f"organization {name} has entries but no balance" for name in sums]


def _double_settled(conn: Connection) -> list[str]:
    rows = conn.execute(
        select(entries.c.subject, func.count())
        .where(entries.c.kind.in_(("capture", "release")))
        .group_by(entries.c.subject)
        .having(func.count() > 1)
    )
    return [f"{row[0]} was settled {row[1]} times" for row in rows]


def _captures_above_hold(conn: Connection) -> list[str]:
    captured = lines.alias()
    rows = conn.execute(
        select(entries.c.subject)
        .join(captured, captured.c.entry_id == entries.c.id)
        .where(entries.c.kind == "capture", captured.c.account == "customer", captured.c.amount < 0)
    )
    return [f"{row[0]} was charged more than was held" for row in rows]
