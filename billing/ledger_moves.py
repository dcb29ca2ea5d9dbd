"""Money that comes in, goes back or is corrected. Each step once per subject, in the caller's transaction.

| entry   | lines (sum zero)                                              |
|---------|---------------------------------------------------------------|
| credit  | equity -a, receivable +r (what was owed), customer +(a-r)     |
| top_up  | stripe -a, receivable +r (what was owed), customer +(a-r)     |
| reverse | stripe +a, customer -b (what is there), receivable -(a-b)     |
| adjust  | customer +a, equity -a (a may be negative)                    |
| refund  | revenue -a, customer +a                                       |
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from billing.balance import Mode, locked_balance, move
from billing.entries import Entry, LedgerConflict, append, kinds_of
from billing.money import format_usd
from billing.tables import balances, entries, lines

RECEIVABLE = "receivable"


def credit(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Add credit that the operator gives and that does not end. Like money it pays what is receivable first."""
    entry = Entry(subject, "credit", organization_id, now, (), memo=memo)
    _receive(conn, entry, amount_micros, "equity")


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
    entry = Entry(subject, "top_up", organization_id, now, (), memo=memo)
    _receive(conn, entry, amount_micros, "stripe")


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


def refund(
    conn: Connection,
    *,
    subject: str,
    organization_id: str,
    amount_micros: int | None,
    memo: str,
    now: int,
) -> Entry:
    """Give back what a subject was charged, or a part of it, as paid credit (None: all that is left of it).

    LedgerConflict beyond what was charged and not refunded before.
    """
    locked_balance(conn, organization_id)
    charged, refunds = (
        conn.execute(
            select(func.coalesce(func.sum(lines.c.amount), 0), func.count(lines.c.amount)).where(
                lines.c.entry_id == entries.c.id,
                lines.c.account == "revenue",
                entries.c.subject == subject,
                entries.c.organization_id == organization_id,
                entries.c.kind.in_(kinds),
            )
        ).one()
        for kinds in (("capture", "refund"), ("refund",))
    )
    left, seq = int(charged[0]), int(refunds[1])
    amount = left if amount_micros is None else amount_micros
    if not 0 < amount <= left:
        raise LedgerConflict(f"{subject} was charged {format_usd(left)} USD that could be refunded")
    entry = Entry(
        subject,
        "refund",
        organization_id,
        now,
        (("revenue", -amount), ("customer", amount)),
        seq=seq,
        memo=memo,
    )
    append(conn, [entry])
    move(conn, organization_id, available=amount)
    return entry


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

    What was recorded with billing off is written off when billing is turned on; holds made then must have ended, for
    their release would be credit that nobody gave.
    """
    row = locked_balance(conn, organization_id)
    new_mode = mode or row.mode
    new_limit = row.credit_limit if credit_limit is None else credit_limit
    if new_mode == "prepaid":
        if credit_limit:
            raise LedgerConflict("prepaid means no debt: a credit limit goes with postpaid")
        new_limit = 0
    owed = -row.available
    if row.mode == "off" and new_mode != "off" and row.held:
        raise LedgerConflict(
            f"organization {organization_id} has videos in the making that were accepted without billing: "
            "let them end, or cancel them, first"
        )
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


def _receive(conn: Connection, entry: Entry, amount_micros: int, source: str) -> None:
    row = locked_balance(conn, entry.organization_id)
    owed = min(amount_micros, row.receivable)
    amounts = _lines(
        [(source, -amount_micros), (RECEIVABLE, owed), ("customer", amount_micros - owed)], "customer"
    )
    _once(conn, replace(entry, amounts=amounts))
    move(conn, entry.organization_id, available=amount_micros - owed, receivable=-owed)
    if owed and owed == row.receivable:
        restore(conn, entry.organization_id, RECEIVABLE)


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
