"""Money that comes in, goes back or is corrected. Each step once per subject, in the caller's transaction.

| entry   | lines (sum zero)                                              |
|---------|---------------------------------------------------------------|
| credit  | customer +a, equity -a                                        |
| top_up  | stripe -a, receivable +r (what was owed), customer +(a-r)     |
| reverse | stripe +a, customer -b (what is there), receivable -(a-b)     |
| adjust  | customer +a, equity -a (a may be negative)                    |
"""

from collections.abc import Sequence

from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from billing.balance import Mode, locked_balance, move
from billing.entries import Entry, LedgerConflict, append, kinds_of
from billing.tables import balances

RECEIVABLE = "receivable"


def credit(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Add credit that the operator gives and that does not end."""
    locked_balance(conn, organization_id)
    amounts = (("customer", amount_micros), ("equity", -amount_micros))
    _once(conn, Entry(subject, "credit", organization_id, now, amounts, memo=memo))
    move(conn, organization_id, available=amount_micros)


def adjust(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Correct the paid credit up or down. LedgerConflict where a debit would pass what the organization may owe."""
    row = locked_balance(conn, organization_id)
    if row.mode != "off" and row.available + amount_micros + row.credit_limit < 0:
        raise LedgerConflict(f"organization {organization_id} has too little credit for this correction")
    amounts = (("customer", amount_micros), ("equity", -amount_micros))
    _once(conn, Entry(subject, "adjust", organization_id, now, amounts, memo=memo))
    move(conn, organization_id, available=amount_micros)


def top_up(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Book money that came in: it pays what is receivable first; with that paid, the suspension for it ends."""
    row = locked_balance(conn, organization_id)
    owed = min(amount_micros, row.receivable)
    amounts = _lines(
        [("stripe", -amount_micros), (RECEIVABLE, owed), ("customer", amount_micros - owed)], "customer"
    )
    _once(conn, Entry(subject, "top_up", organization_id, now, amounts, memo=memo))
    move(conn, organization_id, available=amount_micros - owed, receivable=-owed)
    if owed and owed == row.receivable:
        restore(conn, organization_id, RECEIVABLE)


def reverse(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Book money that went back (refund, dispute): from the paid credit, and beyond it as receivable, which suspends."""
    row = locked_balance(conn, organization_id)
    there = amount_micros if row.mode == "off" else min(amount_micros, max(0, row.available))
    amounts = _lines(
        [("stripe", amount_micros), ("customer", -there), (RECEIVABLE, there - amount_micros)], "customer"
    )
    _once(conn, Entry(subject, "reverse", organization_id, now, amounts, memo=memo))
    move(conn, organization_id, available=-there, receivable=amount_micros - there)
    if there < amount_micros:
        suspend(conn, organization_id, RECEIVABLE)


def suspend(conn: Connection, organization_id: str, reason: str) -> None:
    """Let the organization make nothing more; an earlier reason stays. What runs goes on."""
    conn.execute(
        update(balances)
        .where(balances.c.organization_id == organization_id, balances.c.suspended.is_(None))
        .values(suspended=reason)
    )


def restore(conn: Connection, organization_id: str, reason: str) -> None:
    """End a suspension for this reason; one for another reason stays."""
    conn.execute(
        update(balances)
        .where(balances.c.organization_id == organization_id, balances.c.suspended == reason)
        .values(suspended=None)
    )


def set_terms(
    conn: Connection,
    organization_id: str,
    *,
    subject: str,
    now: int,
    mode: Mode | None = None,
    credit_limit: int | None = None,
) -> None:
    """Change how an organization pays. LedgerConflict where it owes more than the new terms allow.

    What was recorded with billing off is written off when billing is turned on.
    """
    row = locked_balance(conn, organization_id)
    new_mode = mode or row.mode
    new_limit = row.credit_limit if credit_limit is None else credit_limit
    owed = -row.available
    if row.mode == "off" and new_mode != "off" and owed > 0:
        adjust(
            conn,
            subject=subject,
            organization_id=organization_id,
            amount_micros=owed,
            memo="recorded while billing was off",
            now=now,
        )
        owed = 0
    if new_mode != "off" and owed > new_limit:
        raise LedgerConflict(f"organization {organization_id} owes more than the new terms allow")
    conn.execute(
        update(balances)
        .where(balances.c.organization_id == organization_id)
        .values(mode=new_mode, credit_limit=new_limit)
    )


def _lines(amounts: Sequence[tuple[str, int]], always: str) -> tuple[tuple[str, int], ...]:
    return tuple((account, amount) for account, amount in amounts if amount or account == always)


def _once(conn: Connection, entry: Entry) -> None:
    """Append an entry. LedgerConflict for a subject that had this step, which leaves the transaction usable."""
    if entry.kind in kinds_of(conn, [entry.subject]).get(entry.subject, set()):
        raise LedgerConflict(f"{entry.subject} was already booked as {entry.kind}")
    try:
        with conn.begin_nested():
            append(conn, [entry])
    except IntegrityError as error:
        raise LedgerConflict(f"{entry.subject} was already booked as {entry.kind}") from error
