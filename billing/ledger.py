"""Append-only double entry: hold, then capture or release, each once.

Every function takes the caller's connection and never commits: the state change of the video and its entries
stand or fall together. Repeating a step is a key violation (subject, kind, seq). Amounts are micro-USD.

| entry   | lines (sum zero)                                                     |
|---------|----------------------------------------------------------------------|
| hold    | held +a, promotional -p, customer -(a-p)                             |
| capture | held -a (the whole hold), revenue +c, the rest a-c back where it was |
| release | held -a, promotional +p, customer +(a-p)                             |

Promotional credit is used first and given back last. The other steps: billing.ledger_moves, billing.lots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from billing import budget_holding, budgets, lots
from billing.balance import Mode, locked_balance, move, open_balance
from billing.budgets import BudgetAlert, BudgetExceeded
from billing.entries import Entry, LedgerConflict, append, kinds_of
from billing.holds import Hold, Spender

__all__ = [
    "BudgetAlert",
    "BudgetExceeded",
    "Capture",
    "Hold",
    "InsufficientCredit",
    "LedgerConflict",
    "Mode",
    "Spender",
    "Suspended",
    "capture",
    "capture_many",
    "hold_many",
    "open_balance",
    "release",
]

UNLIMITED: Final = 1 << 61


class InsufficientCredit(Exception):
    """The organization's credit does not cover the hold."""


class Suspended(Exception):
    """The organization may make nothing until it has paid, or the operator restores it. `args[0]` is the reason."""


def hold_many(
    conn: Connection, items: Sequence[Hold], alerts: list[BudgetAlert] | None = None
) -> list[Exception | None]:
    """Set money aside for each item, in order; a refused item is the reason in the answer.

    One locked row per organization decides, so concurrent creates cannot overspend. Budgets that reached a mark are
    added to `alerts`.
    """
    refused: list[Exception | None] = [None] * len(items)
    accepted: list[Entry] = []
    for organization_id in sorted({item.organization_id for item in items}):
        mine = [n for n, item in enumerate(items) if item.organization_id == organization_id]
        purse = _Purse.of(conn, organization_id, [items[n] for n in mine])
        for n in mine:
            refused[n] = purse.refusal(items[n])
            if refused[n] is None:
                accepted.append(purse.take(items[n]))
        purse.write(conn)
        if alerts is not None:
            alerts += purse.counted.alerts
    append(conn, accepted)
    return refused


@dataclass(slots=True)
class _Purse:
    """What one organization may still hold while a batch is decided."""

    account: Any
    paid_left: int
    open_lots: lots.OpenLots
    counted: budget_holding.BudgetBatch
    paid: int = 0
    promotional: int = 0

    @classmethod
    def of(cls, conn: Connection, organization_id: str, items: Sequence[Hold]) -> "_Purse":
        """Lock the balance, then the budgets that these items count in."""
        account = locked_balance(conn, organization_id)
        limit = UNLIMITED if account.mode == "off" else account.credit_limit
        room = account.available + limit
        found = lots.open_lots(conn, organization_id) if account.promotional else lots.OpenLots()
        counted = budget_holding.lock(conn, organization_id, items)
        return cls(account, room, found, counted)

    def refusal(self, item: Hold) -> Exception | None:
        """Say why the item cannot be held, None if it can."""
        if self.account.suspended is not None:
            return Suspended(self.account.suspended)
        if item.amount_micros > self.paid_left + self.open_lots.room(item.created_at):
            return InsufficientCredit("The organization's credit does not cover this video.")
        return self.counted.refusal(item) if self.counted.active else None

    def take(self, item: Hold) -> Entry:
        """Count the item and make its entry."""
        promotional = self.open_lots.take(item.subject, item.amount_micros, item.created_at)
        paid = item.amount_micros - promotional
        self.paid_left -= paid
        self.paid += paid
        self.promotional += promotional
        if self.counted.active:
            self.counted.take(item)
        amounts = [("held", item.amount_micros), ("customer", -paid)]
        if promotional:
            amounts.append(("promotional", -promotional))
        return Entry(item.subject, "hold", item.organization_id, item.created_at, tuple(amounts))

    def write(self, conn: Connection) -> None:
        """Write the balance, the lots and the budgets."""
        move(
            conn,
            self.account.organization_id,
            available=-self.paid,
            promotional=-self.promotional,
            held=self.paid + self.promotional,
        )
        self.open_lots.write(conn)
        self.counted.write(conn)


@dataclass(frozen=True, slots=True)
class Capture:
    """What to charge of a hold, and the length that was billed (None: as held)."""

    hold: Hold
    amount_micros: int
    length_ms: int | None = None


def capture(
    conn: Connection, hold: Hold, amount_micros: int, now: int, *, length_ms: int | None = None
) -> int:
    """Charge `amount_micros` of the hold and give back the rest. LedgerConflict if already settled.

    Answers what of the charge promotional credit did not cover.
    """
    paid: dict[str, int] = {}
    refusal = capture_many(conn, [Capture(hold, amount_micros, length_ms)], now, paid)[0]
    if refusal is not None:
        raise refusal
    return paid[hold.subject]


def capture_many(
    conn: Connection, items: Sequence[Capture], now: int, paid: dict[str, int] | None = None
) -> list[LedgerConflict | None]:
    """Charge each hold as `capture` does; a refused one is a LedgerConflict in the answer.

    `paid` is filled with what of each charge promotional credit did not cover, by subject.
    """
    known = kinds_of(conn, [item.hold.subject for item in items])
    refused = [_refusal(item, known.get(item.hold.subject, set())) for item in items]
    accepted = [item for item, refusal in zip(items, refused, strict=True) if refusal is None]
    found = _settle(conn, accepted, "capture", now)
    if paid is not None:
        paid.update(found)
    return refused


def release(conn: Connection, hold: Hold, now: int) -> None:
    """Give the whole hold back. LedgerConflict if already settled."""
    refusal = _not_open(hold, kinds_of(conn, [hold.subject]).get(hold.subject, set()))
    if refusal is not None:
        raise refusal
    _settle(conn, [Capture(hold, 0, 0)], "release", now)


def _refusal(item: Capture, kinds: set[str]) -> LedgerConflict | None:
    if not 0 <= item.amount_micros <= item.hold.amount_micros:
        return LedgerConflict(
            f"a capture of {item.amount_micros} does not fit its hold of {item.hold.amount_micros}"
        )
    return _not_open(item.hold, kinds)


def _not_open(hold: Hold, kinds: set[str]) -> LedgerConflict | None:
    if "hold" in kinds and not kinds & {"capture", "release"}:
        return None
    return LedgerConflict(f"{hold.subject} has no open hold: {sorted(kinds)}")


def _settle(conn: Connection, items: Sequence[Capture], kind: str, now: int) -> dict[str, int]:
    """Resolve open holds: entries, balances, lots and budgets, in this order of locks.

    Answers what of each charge was paid credit, by subject.
    """
    paid: dict[str, int] = {}
    for organization_id in sorted({item.hold.organization_id for item in items}):
        mine = [item for item in items if item.hold.organization_id == organization_id]
        locked_balance(conn, organization_id)
        from_lots = lots.settle(conn, {item.hold.subject: item.amount_micros for item in mine})
        new = [_settled_entry(item, kind, now, from_lots.get(item.hold.subject, (0, 0))) for item in mine]
        append(conn, new)
        sums = _sums(new)
        move(
            conn,
            organization_id,
            available=sums.get("customer", 0),
            promotional=sums.get("promotional", 0),
            held=sums.get("held", 0),
        )
        budgets.correct(conn, {item.hold.subject: (item.amount_micros, item.length_ms) for item in mine})
        for item in mine:
            taken, back = from_lots.get(item.hold.subject, (0, 0))
            paid[item.hold.subject] = item.amount_micros - (taken - back)
    return paid


def _settled_entry(item: Capture, kind: str, now: int, from_lots: tuple[int, int]) -> Entry:
    hold, (taken, back) = item.hold, from_lots
    paid = hold.amount_micros - taken  # what of the hold was paid credit
    charged_paid = item.amount_micros - (taken - back)
    amounts = [("held", -hold.amount_micros), ("customer", paid - charged_paid)]
    if kind == "capture":
        amounts.append(("revenue", item.amount_micros))
    if back:
        amounts.append(("promotional", back))
    return Entry(hold.subject, kind, hold.organization_id, now, tuple(amounts))


def _sums(new: Sequence[Entry]) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in new:
        for account, amount in entry.amounts:
            found[account] = found.get(account, 0) + amount
    return found
