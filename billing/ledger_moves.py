"""Money from and to the outside, each step once per subject: top-up, reversal, suspension, terms."""

from typing import Any, Final

from sqlalchemy import Connection, select, update

from billing.ledger import LedgerConflict, Mode, _append, _Entry
from billing.tables import balances

_RECEIVABLE: Final = "receivable"


def top_up(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Money came in through Stripe: what is receivable is paid first, the rest is credit."""
    row = _locked(conn, organization_id)
    debt = min(row.receivable, amount_micros)
    amounts = {"customer": amount_micros - debt, "receivable": debt, "stripe": -amount_micros}
    _book(conn, _Entry(subject, "top_up", organization_id, now, _lines(amounts), memo=memo))
    paid_off = row.suspended == _RECEIVABLE and row.receivable == debt
    _change(
        conn,
        organization_id,
        available=row.available + amount_micros - debt,
        receivable=row.receivable - debt,
        suspended=None if paid_off else row.suspended,
    )


def reverse(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Money went back: taken from paid credit; what is beyond it is receivable and suspends."""
    row = _locked(conn, organization_id)
    taken = min(max(row.available, 0), amount_micros)
    beyond = amount_micros - taken
    amounts = {"customer": -taken, "receivable": -beyond, "stripe": amount_micros}
    _book(conn, _Entry(subject, "reverse", organization_id, now, _lines(amounts), memo=memo))
    _change(
        conn,
        organization_id,
        available=row.available - taken,
        receivable=row.receivable + beyond,
        suspended=row.suspended or (_RECEIVABLE if beyond else None),
    )


def suspend(conn: Connection, organization_id: str, reason: str) -> None:
    """Let nothing more be made; an earlier reason stays."""
    conn.execute(
        update(balances)
        .where(balances.c.organization_id == organization_id, balances.c.suspended.is_(None))
        .values(suspended=reason)
    )


def restore(conn: Connection, organization_id: str, reason: str) -> None:
    """Take back a suspension for that reason."""
    conn.execute(
        update(balances)
        .where(balances.c.organization_id == organization_id, balances.c.suspended == reason)
        .values(suspended=None)
    )


def set_terms(
    conn: Connection,
    organization_id: str,
    *,
    subject: str,  # noqa: ARG001  (names the correction where one is booked)
    now: int,  # noqa: ARG001
    mode: Mode | None = None,
    credit_limit: int | None = None,
) -> None:
    """Set how the organization pays."""
    row = _locked(conn, organization_id)
    limit = row.credit_limit if credit_limit is None else credit_limit
    _change(conn, organization_id, mode=mode or row.mode, credit_limit=limit)


def _locked(conn: Connection, organization_id: str) -> Any:
    query = select(balances).where(balances.c.organization_id == organization_id).with_for_update()
    row = conn.execute(query).one_or_none()
    if row is None:
        raise LedgerConflict(f"organization {organization_id} has no balance")
    return row


def _lines(amounts: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((account, amount) for account, amount in amounts.items() if amount)


def _book(conn: Connection, entry: _Entry) -> None:
    _append(conn, [entry])


def _change(conn: Connection, organization_id: str, **values: Any) -> None:
    conn.execute(update(balances).where(balances.c.organization_id == organization_id).values(**values))
