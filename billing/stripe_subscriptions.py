"""Postpaid: what invoices and the subscription say of an organization, and whether it is suspended for it."""

from typing import Any, Final

from sqlalchemy import Connection, select, update

from billing.ledger_moves import restore, suspend, top_up
from billing.stripe_customers import find, lock, organization_of
from billing.stripe_payments import CENT_MICROS, Known, micros_of, remember
from billing.stripe_tables import customers, objects
from billing.tables import balances

PAYMENT_FAILED: Final = "payment_failed"

_INVOICE_RANKS: Final = {"open": 1, "failed": 2, "uncollectible": 3, "void": 4, "paid": 5}
_UNPAID: Final = ("failed", "uncollectible")
_BAD: Final = ("past_due", "unpaid", "canceled", "incomplete_expired", "paused")
_MENDED: Final = ("incomplete", "past_due", "unpaid", "active")
_STATUS_RANKS: Final = {
    "incomplete": 0,
    "past_due": 1,
    "unpaid": 1,
    "active": 2,
    "trialing": 2,
    "canceled": 3,
}
"""Which of two states of the same second is the later one."""


def subscription_of(invoice: dict[str, Any]) -> str | None:
    """Name the subscription an invoice belongs to; None for one of a single payment, credited as that."""
    parent = invoice.get("parent") or {}
    details = parent.get("subscription_details") or {}
    return details.get("subscription")


def paid_micros(invoice: dict[str, Any]) -> int:
    """What a paid invoice brought, without tax."""
    total = int(invoice["total"])
    without_tax = invoice.get("total_excluding_tax")
    tax = 0 if without_tax is None else total - int(without_tax)
    return micros_of(max(0, int(invoice["amount_paid"]) - tax), invoice["currency"])


def invoiced_micros(invoice: dict[str, Any]) -> int:
    """What an invoice carries before discounts and tax, paid or not."""
    amount = invoice.get("subtotal_excluding_tax")
    return micros_of(invoice["subtotal"] if amount is None else amount, invoice["currency"])


def invoice_changed(conn: Connection, invoice: dict[str, Any], status: str, event_at: int, now: int) -> None:
    """Take in what an event says of an invoice: a paid one is credited once and never fails again."""
    organization_id = organization_of(conn, invoice.get("customer"))
    subscription_id = subscription_of(invoice)
    if organization_id is None or subscription_id is None:
        return
    lock(conn, organization_id)
    known = Known(
        invoice["id"],
        "invoice",
        status,
        _INVOICE_RANKS[status],
        int(invoice["amount_paid"]) * CENT_MICROS,
        event_at,
        subscription_id,
        organization_id,
    )
    already = conn.scalar(select(objects.c.status).where(objects.c.id == invoice["id"]))
    if status == "paid" and already != "paid":
        _credit(conn, organization_id, invoice, now)
        _bring_back(conn, organization_id, invoice["id"], subscription_id, event_at)
    remember(conn, known)
    decide_suspension(conn, organization_id)


def subscription_changed(conn: Connection, subscription: dict[str, Any], event_at: int) -> None:
    """Take in the state of an organization's own subscription, the newest there is."""
    organization_id = organization_of(conn, subscription.get("customer"))
    if organization_id is None:
        return
    row = lock(conn, organization_id)
    if row is None or row.subscription_id != subscription["id"]:
        return
    status = subscription["status"]
    newer = (event_at, _STATUS_RANKS.get(status, 1))
    if newer > (row.subscription_event_at, _STATUS_RANKS.get(row.subscription_status, 1)):
        _set_status(conn, organization_id, status, event_at)
    decide_suspension(conn, organization_id)


def decide_suspension(conn: Connection, organization_id: str) -> None:
    """Suspend a postpaid organization that has not paid; restore it when nothing stands against it."""
    row = find(conn, organization_id)
    mode = conn.scalar(select(balances.c.mode).where(balances.c.organization_id == organization_id))
    unpaid = conn.scalar(
        select(objects.c.id)
        .where(
            objects.c.organization_id == organization_id,
            objects.c.kind == "invoice",
            objects.c.status.in_(_UNPAID),
        )
        .limit(1)
    )
    bad = unpaid is not None or (row is not None and row.subscription_status in _BAD)
    if bad and mode == "postpaid":
        suspend(conn, organization_id, PAYMENT_FAILED)
    else:
        restore(conn, organization_id, PAYMENT_FAILED)


def _credit(conn: Connection, organization_id: str, invoice: dict[str, Any], now: int) -> None:
    amount = paid_micros(invoice)
    if amount:
        top_up(
            conn,
            subject=invoice["id"],
            organization_id=organization_id,
            amount_micros=amount,
            memo=f"invoice {invoice.get('number') or invoice['id']} paid",
            now=now,
        )


def _bring_back(
    conn: Connection, organization_id: str, invoice_id: str, subscription_id: str, event_at: int
) -> None:
    """The payment of the last open invoice ends past_due up to now: the subscription's own events may be lost or late."""
    row = find(conn, organization_id)
    others = conn.scalar(
        select(objects.c.id)
        .where(
            objects.c.organization_id == organization_id,
            objects.c.kind == "invoice",
            objects.c.status.in_(_UNPAID),
            objects.c.id != invoice_id,
        )
        .limit(1)
    )
    if row is None or others is not None or row.subscription_id != subscription_id:
        return
    if row.subscription_status not in _MENDED:
        return
    if event_at >= row.subscription_event_at:
        _set_status(conn, organization_id, "active", event_at)


def _set_status(conn: Connection, organization_id: str, status: str, event_at: int) -> None:
    conn.execute(
        update(customers)
        .where(customers.c.organization_id == organization_id)
        .values(subscription_status=status, subscription_event_at=event_at)
    )
