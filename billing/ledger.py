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

from sqlalchemy import BigInteger, Connection, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.tables import balances, entries, lines

Mode = Literal["off", "prepaid", "postpaid"]
UNLIMITED: Final = 1 << 61

# Built once: making a statement costs as much as running it.
_BALANCE: Final = (
    select(balances).where(balances.c.organization_id == bindparam("organization")).with_for_update()
)
_MOVE: Final = (
    update(balances)
    .where(balances.c.organization_id == bindparam("organization"))
    .values(
        available=balances.c.available + bindparam("to_available", type_=BigInteger),
        held=balances.c.held + bindparam("to_held", type_=BigInteger),
    )
)
_KINDS: Final = select(entries.c.subject, entries.c.kind).where(
    entries.c.subject.in_(bindparam("subjects", expanding=True))
)
_ENTRIES: Final = insert(entries)
_LINES: Final = insert(lines)


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


@dataclass(frozen=True, slots=True)
class Capture:
    """What to charge of a hold."""

    hold: Hold
    amount_micros: int


def capture(conn: Connection, hold: Hold, amount_micros: int, now: int) -> None:
    """Charge `amount_micros` of the hold and give back the rest. LedgerConflict if already settled."""
    refusal = capture_many(conn, [Capture(hold, amount_micros)], now)[0]
    if refusal is not None:
        raise refusal


def capture_many(conn: Connection, items: Sequence[Capture], now: int) -> list[LedgerConflict | None]:
    """Charge each hold as `capture` does; a refused one is a LedgerConflict in the answer."""
    known = _kinds(conn, [item.hold.subject for item in items])
    refused = [_refusal(item, known.get(item.hold.subject, set())) for item in items]
    accepted = [item for item, refusal in zip(items, refused, strict=True) if refusal is None]
    _append(conn, [_capture_entry(item, now) for item in accepted])
    for organization_id in sorted({item.hold.organization_id for item in accepted}):
        mine = [item for item in accepted if item.hold.organization_id == organization_id]
        held = sum(item.hold.amount_micros for item in mine)
        rest = held - sum(item.amount_micros for item in mine)
        _move(conn, organization_id, available=rest, held=-held)
    return refused


def _refusal(item: Capture, kinds: set[str]) -> LedgerConflict | None:
    if not 0 <= item.amount_micros <= item.hold.amount_micros:
        return LedgerConflict(
            f"a capture of {item.amount_micros} does not fit its hold of {item.hold.amount_micros}"
        )
    return _not_open(item.hold, kinds)


def _capture_entry(item: Capture, now: int) -> _Entry:
    hold, rest = item.hold, item.hold.amount_micros - item.amount_micros
    amounts = (("held", -hold.amount_micros), ("revenue", item.amount_micros), ("customer", rest))
    return _Entry(hold.subject, "capture", hold.organization_id, now, amounts)


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
    refusal = _not_open(hold, _kinds(conn, [hold.subject]).get(hold.subject, set()))
    if refusal is not None:
        raise refusal
    _append(conn, [_Entry(hold.subject, kind, hold.organization_id, now, amounts)])


def _kinds(conn: Connection, subjects: Sequence[str]) -> dict[str, set[str]]:
    """The kinds of entry that each subject has."""
    found: dict[str, set[str]] = {}
    if subjects:
        for row in conn.execute(_KINDS, {"subjects": subjects}):
            found.setdefault(row.subject, set()).add(row.kind)
    return found


def _not_open(hold: Hold, kinds: set[str]) -> LedgerConflict | None:
    if "hold" in kinds and not kinds & {"capture", "release"}:
        return None
    return LedgerConflict(f"{hold.subject} has no open hold: {sorted(kinds)}")


def _locked_balance(conn: Connection, organization_id: str) -> Any:
    row = conn.execute(_BALANCE, {"organization": organization_id}).one_or_none()
    if row is None:
        raise LedgerConflict(f"organization {organization_id} has no balance")
    return row


def _move(conn: Connection, organization_id: str, *, available: int, held: int) -> None:
    if not available and not held:
        return
    conn.execute(_MOVE, {"organization": organization_id, "to_available": available, "to_held": held})


def _append(conn: Connection, new: Sequence[_Entry]) -> None:
    if not new:
        return
    conn.execute(
        _ENTRIES,
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
        _LINES,
        [
            {"entry_id": e.id, "account": account, "amount": amount}
            for e in new
            for account, amount in e.amounts
        ],
    )
