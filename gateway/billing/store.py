"""SQL over balances, entries, credits and budgets. Every statement is scoped by its organization."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from billing.budgets import period_start
from billing.ledger_costs import KIND as COST
from billing.tables import (
    NOT_OF_VIDEOS,
    balances,
    budget_periods,
    budgets,
    credit_lots,
    entries,
    lines,
)
from gateway.errors import BadRequest, NotFound
from gateway.jobs.tables import slots
from gateway.keys.store import PageQuery
from gateway.keys.tables import api_keys, organizations, projects

_CREDITS: Final = (
    select(*entries.c, (-lines.c.amount).label("amount"), credit_lots.c.remaining, credit_lots.c.expires_at)
    .join(lines, and_(lines.c.entry_id == entries.c.id, lines.c.account.in_(("equity", "promotion"))))
    .outerjoin(credit_lots, credit_lots.c.id == entries.c.subject)
)
COMMON_KINDS: Final = ("hold", "capture", "release", COST)
"""Kinds of entry that every video has."""
RARE_KINDS: Final = ("top_up", "credit", "grant", "expire", "refund", "reverse", "adjust")
_MOST_LOTS: Final = 100
_MOST_BUDGETS: Final = 1000
_RARE: Final = text(NOT_OF_VIDEOS)
"""As the index has it, word for word."""
EntryRows = list[tuple[Any, list[tuple[str, int]]]]
"""Entries, each with its lines (account, micro-USD)."""


def balance(conn: Connection, organization_id: str) -> Any:
    """Read the balance row."""
    return conn.execute(select(balances).where(balances.c.organization_id == organization_id)).one()


def organization(conn: Connection, organization_id: str) -> Any:
    """Read an organization: for the operator only. NotFound for an unknown one."""
    row = conn.execute(select(organizations).where(organizations.c.id == organization_id)).first()
    if row is None:
        raise NotFound(
            f"No organization with the id '{organization_id[:100]}'.",
            param="organization",
            code="organization_not_found",
        )
    return row


def payer_of(conn: Connection, video_id: str) -> str:
    """Whose video it is, by its hold: also of a deleted one. NotFound for an unknown id."""
    found = conn.execute(
        select(entries.c.organization_id).where(entries.c.subject == video_id, entries.c.kind == "hold")
    ).scalar()
    if found is None:
        raise NotFound(f"No video '{video_id}' was ever held for.", param="video", code="video_not_found")
    return str(found)


def is_refunded(conn: Connection, video_id: str) -> bool:
    """Tell whether nothing is left of a video's charge."""
    left = select(func.coalesce(func.sum(lines.c.amount), 0)).where(
        lines.c.entry_id == entries.c.id, lines.c.account == "revenue", entries.c.subject == video_id
    )
    return int(conn.execute(left).scalar_one()) == 0


def ledger_page(
    conn: Connection, organization_id: str, page: PageQuery, *, costs: bool, kinds: Sequence[str] = ()
) -> tuple[EntryRows, bool]:
    """Entries with their lines, by time; what upstreams take only with `costs`: it is the operator's business."""
    where: ColumnElement[bool] = entries.c.organization_id == organization_id
    if not costs:
        where = and_(where, entries.c.kind != COST)
    if kinds:
        where = and_(where, entries.c.kind.in_(kinds))
        if not set(kinds) & set(COMMON_KINDS):
            where = and_(where, _RARE)
    rows, more = _page(conn, entries, select(entries), where, page)
    found: dict[str, list[tuple[str, int]]] = {row.id: [] for row in rows}
    of_page = select(lines).where(lines.c.entry_id.in_(list(found))).order_by(lines.c.account)
    for line in conn.execute(of_page):
        found[line.entry_id].append((line.account, line.amount))
    return [(row, found[row.id]) for row in rows], more


def credits_page(conn: Connection, organization_id: str, page: PageQuery) -> tuple[Sequence[Any], bool]:
    """What the operator gave, with what is left of the parts that end."""
    given = entries.c.kind.in_(("credit", "grant"))
    where = and_(given, entries.c.organization_id == organization_id, _RARE)
    return _page(conn, entries, _CREDITS, where, page)


def credit(conn: Connection, subject: str) -> Any:
    """Read what one grant gave."""
    given = and_(entries.c.subject == subject, entries.c.kind.in_(("credit", "grant")))
    return conn.execute(_CREDITS.where(given)).one()


def open_lots(conn: Connection, organization_id: str, now: int) -> Sequence[Any]:
    """Credit that ends after `now` and of which something is left."""
    statement = select(credit_lots).where(
        credit_lots.c.organization_id == organization_id,
        credit_lots.c.expires_at > now,
        credit_lots.c.remaining > 0,
    )
    return conn.execute(statement.order_by(credit_lots.c.expires_at).limit(_MOST_LOTS)).all()


def topped_up(conn: Connection, organization_id: str, since: int) -> bool:
    """Tell whether a payment has arrived since a moment in milliseconds."""
    paid = select(entries.c.id).where(
        entries.c.organization_id == organization_id,
        entries.c.created_at >= since,
        entries.c.kind == "top_up",
        _RARE,
    )
    return conn.execute(paid.limit(1)).first() is not None


def plan_use(conn: Connection, organization_id: str, month: int) -> tuple[int, int]:
    """How many videos run now, and how many were accepted in the month where the plan counts them."""
    running = select(slots.c.used).where(slots.c.name == f"org:{organization_id}")
    accepted = select(budget_periods.c.used).where(
        budget_periods.c.budget_id == f"fast:{organization_id}", budget_periods.c.period_start == month
    )
    return conn.scalar(running) or 0, conn.scalar(accepted) or 0


def budgets_of(conn: Connection, organization_id: str, scope: str, scope_ids: Sequence[str]) -> Sequence[Any]:
    """Budgets in force of these keys, projects or users."""
    statement = select(budgets).where(
        budgets.c.organization_id == organization_id,
        budgets.c.archived_at.is_(None),
        budgets.c.scope == scope,
        budgets.c.scope_id.in_(scope_ids),
    )
    return conn.execute(statement.order_by(budgets.c.id).limit(_MOST_BUDGETS)).all()


def budgets_page(conn: Connection, organization_id: str, page: PageQuery) -> tuple[Sequence[Any], bool]:
    """Budgets that are in force."""
    where = and_(budgets.c.organization_id == organization_id, budgets.c.archived_at.is_(None))
    return _page(conn, budgets, select(budgets), where, page)


def budget(conn: Connection, organization_id: str, budget_id: str) -> Any:
    """Read a budget in force. NotFound for others'."""
    row = conn.execute(
        select(budgets).where(
            budgets.c.id == budget_id,
            budgets.c.organization_id == organization_id,
            budgets.c.archived_at.is_(None),
        )
    ).first()
    if row is None:
        raise NotFound(f"No budget with the id '{budget_id}'.", param="budget_id", code="budget_not_found")
    return row


def used(conn: Connection, rows: Sequence[Any], now: int) -> dict[str, tuple[int, int]]:
    """What of each budget is used in the current period, and when that began."""
    starts = {row.id: period_start(row.period, now) for row in rows}
    counted = select(budget_periods).where(
        tuple_(budget_periods.c.budget_id, budget_periods.c.period_start).in_(list(starts.items()))
    )
    found = {row.budget_id: row.used for row in conn.execute(counted)} if rows else {}
    return {name: (found.get(name, 0), start) for name, start in starts.items()}


def insert_budget(conn: Connection, values: dict[str, Any]) -> Any:
    """Write a budget and read it back."""
    conn.execute(insert(budgets).values(values))
    return budget(conn, values["organization_id"], values["id"])


def change_budget(conn: Connection, budget_id: str, values: dict[str, Any]) -> None:
    """Change a budget; the balance's lock orders this with creates."""
    if values:
        conn.execute(update(budgets).where(budgets.c.id == budget_id).values(values))


def owns(conn: Connection, organization_id: str, scope: str, scope_id: str) -> bool:
    """Tell whether a project or key is the organization's."""
    table: Table = projects if scope == "project" else api_keys
    found = select(func.count()).where(table.c.id == scope_id, table.c.organization_id == organization_id)
    return bool(conn.execute(found).scalar_one())


def _page(
    conn: Connection, table: Table, statement: Select[Any], where: ColumnElement[bool], page: PageQuery
) -> tuple[Sequence[Any], bool]:
    statement = statement.where(where)
    position = tuple_(table.c.created_at, table.c.id)
    if page.after is not None:
        at_id = table.c.subject if table is entries and not page.after.startswith("led_") else table.c.id
        cursor = conn.execute(select(table).where(at_id == page.after, where)).first()
        if cursor is None:
            raise BadRequest(f"No entry of this list has the id '{page.after}'.", param="after")
        at = tuple_(cursor.created_at, cursor.id)
        statement = statement.where(position < at if page.descending else position > at)
    order = [
        column.desc() if page.descending else column.asc() for column in (table.c.created_at, table.c.id)
    ]
    rows = conn.execute(statement.order_by(*order).limit(page.limit + 1)).all()
    return rows[: page.limit], len(rows) > page.limit
