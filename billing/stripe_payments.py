"""Money of single payments: credited once, reversed as far as refunds and disputes go, in any order of events.

What is known of a refund or dispute only ever advances, and the amount to be reversed follows from all that is
known. So an event may come twice, late, or before the payment it belongs to.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.ledger_moves import reverse, top_up
from billing.stripe_tables import objects, payments

CENT_MICROS: Final = 10_000

_REFUND_RANKS: Final = {"pending": 1, "requires_action": 1, "succeeded": 2, "failed": 3, "canceled": 3}
_NOT_REFUNDED: Final = ("failed", "canceled")
_DISPUTE_RANKS: Final = {
    "warning_needs_response": 1,
    "warning_under_review": 1,
    "warning_closed": 2,
    "needs_response": 3,
    "under_review": 4,
    "prevented": 5,
    "won": 5,
    "lost": 5,
}
_TAKEN: Final = ("needs_response", "under_review", "lost")
"""Dispute states in which Stripe has taken the money back."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that came in: its payment intent and what it bought."""

    id: str
    organization_id: str
    amount_micros: int
    kind: str
    memo: str


@dataclass(frozen=True, slots=True)
class Known:
    """What an event says of an object."""

    id: str
    kind: str
    status: str
    rank: int
    amount: int
    event_at: int
    parent_id: str | None = None
    organization_id: str | None = None


def micros_of(amount: int, currency: str) -> int:
    """Micro-USD of an amount as Stripe writes it. ValueError for another currency: nothing of ours is in one."""
    if currency.lower() != "usd":
        raise ValueError(f"the amount is in {currency}, not in usd")
    return int(amount) * CENT_MICROS


def credit_payment(conn: Connection, payment: Payment, now: int) -> bool:
    """Credit a payment, once whatever says that it came in; then take back what was already refunded of it."""
    row = _locked(conn, payment.id, now)
    if row.credited:
        return False
    top_up(
        conn,
        subject=payment.id,
        organization_id=payment.organization_id,
        amount_micros=payment.amount_micros,
        memo=payment.memo,
        now=now,
    )
    conn.execute(
        update(payments)
        .where(payments.c.id == payment.id)
        .values(
            organization_id=payment.organization_id,
            kind=payment.kind,
            credited=payment.amount_micros,
        )
    )
    _reverse_what_is_due(conn, payment.id, now)
    return True


def refund_changed(conn: Connection, refund: dict[str, Any], event_at: int, now: int) -> None:
    """Take in what an event says of a refund."""
    payment_id = refund.get("payment_intent")
    if not payment_id:
        return
    status = refund.get("status") or "pending"
    known = Known(
        refund["id"],
        "refund",
        status,
        _REFUND_RANKS.get(status, 1),
        int(refund["amount"]) * CENT_MICROS,
        event_at,
        payment_id,
    )
    _locked(conn, payment_id, now)
    remember(conn, known)
    _reverse_what_is_due(conn, payment_id, now)


def charge_refunded(conn: Connection, charge: dict[str, Any], now: int) -> None:
    """Take in how much of a charge was refunded in all: it covers refunds whose own events are missing."""
    payment_id = charge.get("payment_intent")
    if not payment_id:
        return
    row = _locked(conn, payment_id, now)
    total = max(row.charge_refunded, int(charge["amount_refunded"]) * CENT_MICROS)
    conn.execute(update(payments).where(payments.c.id == payment_id).values(charge_refunded=total))
    _reverse_what_is_due(conn, payment_id, now)


def dispute_changed(conn: Connection, dispute: dict[str, Any], event_at: int, now: int) -> None:
    """Take in what an event says of a dispute: its money is gone until it is won."""
    payment_id = dispute.get("payment_intent")
    if not payment_id:
        return
    status = dispute["status"]
    known = Known(
        dispute["id"],
        "dispute",
        status,
        _DISPUTE_RANKS.get(status, 1),
        int(dispute["amount"]) * CENT_MICROS,
        event_at,
        payment_id,
    )
    _locked(conn, payment_id, now)
    remember(conn, known)
    _reverse_what_is_due(conn, payment_id, now)


def remember(conn: Connection, known: Known) -> bool:
    """Keep what is further along than what is known; True if that changed anything."""
    values = {name: getattr(known, name) for name in Known.__slots__}
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    added = conn.execute(make(objects).values(values).on_conflict_do_nothing())
    if added.rowcount == 1:
        return True
    row = conn.execute(select(objects).where(objects.c.id == known.id).with_for_update()).one()
    if (known.rank, known.event_at) <= (row.rank, row.event_at):
        return False
    conn.execute(update(objects).where(objects.c.id == known.id).values(values))
    return True


def due_reversal(
    refunds: list[tuple[str, int]], disputes: list[tuple[str, int]], charge_refunded: int
) -> int:
    """Say how much of a payment went back, from (status, amount) of all that is known of it."""
    failed = sum(amount for status, amount in refunds if status in _NOT_REFUNDED)
    refunded = sum(amount for status, amount in refunds if status not in _NOT_REFUNDED)
    disputed = sum(amount for status, amount in disputes if status in _TAKEN)
    return max(refunded, charge_refunded - failed) + disputed


def _reverse_what_is_due(conn: Connection, payment_id: str, now: int) -> None:
    row = conn.execute(select(payments).where(payments.c.id == payment_id)).one()
    if not row.credited:
        return
    known = conn.execute(
        select(objects.c.kind, objects.c.status, objects.c.amount).where(objects.c.parent_id == payment_id)
    ).all()
    due = due_reversal(
        [(each.status, each.amount) for each in known if each.kind == "refund"],
        [(each.status, each.amount) for each in known if each.kind == "dispute"],
        row.charge_refunded,
    )
    if due == row.reversed:
        return
    more = due - row.reversed
    step = reverse if more > 0 else top_up
    step(
        conn,
        subject=f"{payment_id}.r{row.moves + 1}",
        organization_id=row.organization_id,
        amount_micros=abs(more),
        memo="refunded or disputed" if more > 0 else "refund failed or dispute won",
        now=now,
    )
    conn.execute(
        update(payments).where(payments.c.id == payment_id).values(reversed=due, moves=payments.c.moves + 1)
    )


def _locked(conn: Connection, payment_id: str, now: int) -> Any:
    """The payment's row, made if need be, locked to the end of the transaction."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    new = {
        "id": payment_id,
        "credited": 0,
        "charge_refunded": 0,
        "reversed": 0,
        "moves": 0,
        "created_at": now,
    }
    conn.execute(make(payments).values(new).on_conflict_do_nothing())
    return conn.execute(select(payments).where(payments.c.id == payment_id).with_for_update()).one()
