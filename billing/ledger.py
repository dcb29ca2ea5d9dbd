"""Append-only double entry: hold, then capture or release, each once.

Every function takes the caller's connection and never commits: the state change of the video and its entries
stand or fall together. Repeating a step is a key violation (subject, kind, seq). Amounts are micro-USD.

| entry   | lines (sum zero)                                   |
|---------|----------------------------------------------------|
| credit  | customer +a, equity -a                             |
| hold    | held +a, customer -a                               |
| capture | held -a (the whole hold), revenue +c, customer a-c |
| release | held -a, customer +a                               |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.tables import balances, entries, lines

Mode = Literal["off", "prepaid", "postpaid"]
UNLIMITED: Final = 1 << 61


class InsufficientCredit(Exception):
    """The organization's credit does not cover the hold."""


class LedgerConflict(Exception):
    """The step was already taken, or there is no open hold to settle."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Money to set aside for one subject (a video)."""

    subject: str
    organization_id: str
    amount_micros: int
    created_at: int


@dataclass(frozen=True, slots=True)
class _Entry:
    subject: str
    kind: str
    organization_id: str
    created_at: int
    amounts: tuple[tuple[str, int], ...]
    seq: int = 0
    memo: str | None = None

    @property
    def id(self) -> str:
        """Derived, so that a repeated step collides on both keys."""
        return f"led_{self.kind}_{self.seq}_{self.subject}"[:64]


def open_balance(conn: Connection, organization_id: str, mode: Mode, credit_limit: int = 0) -> None:
    """Make the organization's balance row; an existing one keeps its amounts and mode."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    conn.execute(
        make(balances)
        .values(organization_id=organization_id, mode=mode, credit_limit=credit_limit, available=0, held=0)
        .on_conflict_do_nothing()
    )


def hold_many(conn: Connection, items: Sequence[Hold]) -> list[Exception | None]:
    """Set money aside for each item, in order; a refused item is an InsufficientCredit in the answer.

    One locked row per organization decides, so concurrent creates cannot overspend.
    """
    refused: list[Exception | None] = [None] * len(items)
    accepted: list[_Entry] = []
    for organization_id in sorted({item.organization_id for item in items}):
        row = _locked_balance(conn, organization_id)
        room = UNLIMITED if row.mode == "off" else row.available + row.credit_limit
        taken = 0
        for n, item in enumerate(items):
            if item.organization_id != organization_id:
                continue
            if item.amount_micros > room - taken:
                refused[n] = InsufficientCredit("The organization's credit does not cover this video.")
                continue
            taken += item.amount_micros
            amounts = (("held", item.amount_micros), ("customer", -item.amount_micros))
            accepted.append(_Entry(item.subject, "hold", organization_id, item.created_at, amounts))
        if taken:
            _move(conn, organization_id, available=-taken, held=taken)
    _append(conn, accepted)
    return refused


def capture(conn: Connection, hold: Hold, amount_micros: int, now: int) -> None:
    """Charge `amount_micros` of the hold and give back the rest. LedgerConflict if already settled."""
    if not 0 <= amount_micros <= hold.amount_micros:
        raise LedgerConflict(f"a capture of {amount_micros} does not fit its hold of {hold.amount_micros}")
    rest = hold.amount_micros - amount_micros
    amounts = (("held", -hold.amount_micros), ("revenue", amount_micros), ("customer", rest))
    _settle(conn, hold, "capture", amounts, now)
    _move(conn, hold.organization_id, available=rest, held=-hold.amount_micros)


def release(conn: Connection, hold: Hold, now: int) -> None:
    """Give the whole hold back. LedgerConflict if already settled."""
    amounts = (("held", -hold.amount_micros), ("customer", hold.amount_micros))
    _settle(conn, hold, "release", amounts, now)
    _move(conn, hold.organization_id, available=hold.amount_micros, held=-hold.amount_micros)


def credit(
    conn: Connection, *, subject: str, organization_id: str, amount_micros: int, memo: str, now: int
) -> None:
    """Add prepaid credit, once per subject."""
    amounts = (("customer", amount_micros), ("equity", -amount_micros))
    _append(conn, [_Entry(subject, "credit", organization_id, now, amounts, memo=memo)])
    _move(conn, organization_id, available=amount_micros, held=0)


def _settle(conn: Connection, hold: Hold, kind: str, amounts: tuple[tuple[str, int], ...], now: int) -> None:
    kinds = set(conn.execute(select(entries.c.kind).where(entries.c.subject == hold.subject)).scalars())
    if "hold" not in kinds or kinds & {"capture", "release"}:
        raise LedgerConflict(f"{hold.subject} has no open hold: {sorted(kinds)}")
    _append(conn, [_Entry(hold.subject, kind, hold.organization_id, now, amounts)])


def _locked_balance(conn: Connection, organization_id: str) -> Any:
    row = conn.execute(
        select(balances).where(balances.c.organization_id == organization_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise LedgerConflict(f"organization {organization_id} has no balance")
    return row


def _move(conn: Connection, organization_id: str, *, available: int, held: int) -> None:
    if not available and not held:
        return
    conn.execute(
        update(balances)
        .where(balances.c.organization_id == organization_id)
        .values(available=balances.c.available + available, held=balances.c.held + held)
    )


def _append(conn: Connection, new: Sequence[_Entry]) -> None:
    if not new:
        return
    conn.execute(
        insert(entries),
        [
            {
                "id": e.id,
                "subject": e.subject,
                "kind": e.kind,
                "seq": e.seq,
                "organization_id": e.organization_id,
                "memo": e.memo,
                "created_at": e.created_at,
            }
            for e in new
        ],
    )
    conn.execute(
        insert(lines),
        [
            {"entry_id": e.id, "account": account, "amount": amount}
            for e in new
            for account, amount in e.amounts
        ],
    )
