"""Stripe's webhook inbox: signature, insert once, handle in the same transaction as what it changes."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.stripe_customers import close_recharge, forget_card, lock, organization_of, set_card
from billing.stripe_payments import (
    Known,
    Payment,
    charge_refunded,
    credit_payment,
    dispute_changed,
    micros_of,
    refund_changed,
    remember,
)
from billing.stripe_subscriptions import decide_suspension, invoice_changed, subscription_changed
from billing.stripe_tables import events

TOLERANCE_SECONDS: Final = 300
TOP_UP: Final = "top_up"
RECHARGE: Final = "recharge"

Json = dict[str, Any]
State = Literal["handled", "ignored", "repeated"]


class BadSignature(Exception):
    """The request does not come from Stripe, or not now."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `created` in milliseconds; `object` is what it is about, as it was then."""

    id: str
    type: str
    created: int
    object: Json
    payload: Json


def check_signature(body: bytes, header: str | None, secret: str, now_seconds: float) -> None:
    """Check Stripe's scheme v1: HMAC-SHA256 over `t.body`, no older than TOLERANCE_SECONDS. BadSignature."""
    if not header:
        raise BadSignature("the header Stripe-Signature is missing")
    parts = [part.strip().partition("=") for part in header.split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(stamps) != 1 or not stamps[0].isdecimal() or not signatures:
        raise BadSignature("the header Stripe-Signature reads t=<seconds>,v1=<signature>")
    expected = hmac.new(secret.encode(), stamps[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    if not any([hmac.compare_digest(expected.encode(), each.encode()) for each in signatures]):  # noqa: C419  (every one is compared)
        raise BadSignature("no signature matches the body and the webhook secret")
    if abs(now_seconds - int(stamps[0])) > TOLERANCE_SECONDS:
        raise BadSignature(f"the signature is more than {TOLERANCE_SECONDS} s old or ahead; check the clock")


def read_event(payload: Mapping[str, Any]) -> Event:
    """Read a snapshot event. ValueError for anything else."""
    data = payload.get("data")
    found = data.get("object") if isinstance(data, dict) else None
    if payload.get("object") != "event" or not isinstance(found, dict):
        raise ValueError("this is no snapshot event of Stripe's API v1")
    return Event(
        str(payload["id"]), str(payload["type"]), int(payload["created"]) * 1000, found, dict(payload)
    )


def receive(conn: Connection, event: Event, now: int) -> State:
    """Take in an event once, with everything that follows from it. Whatever it raises undoes all of that."""
    row = _inserted(conn, event, now)
    if row.state in ("handled", "ignored"):
        return "repeated"
    handler = _HANDLERS.get(event.type)
    if handler is not None:
        handler(conn, event, now)
    state: State = "ignored" if handler is None else "handled"
    conn.execute(
        update(events)
        .where(events.c.id == event.id)
        .values(state=state, error=None, tries=events.c.tries + 1, handled_at=now)
    )
    return state


def record_failure(conn: Connection, event: Event, error: str, now: int) -> None:
    """Keep an event that could not be handled, with the reason; Stripe will send it again."""
    if _inserted(conn, event, now).state in ("handled", "ignored"):
        return
    conn.execute(
        update(events)
        .where(events.c.id == event.id)
        .values(state="failed", error=error[:2000], tries=events.c.tries + 1)
    )


def purge(conn: Connection, before_ms: int, limit: int = 500) -> int:
    """Delete events that were handled and arrived before the time; Stripe sends none again after 30 days."""
    old = (
        select(events.c.id)
        .where(events.c.state.in_(("handled", "ignored")), events.c.received_at < before_ms)
        .limit(limit)
    )
    return conn.execute(delete(events).where(events.c.id.in_(old))).rowcount


def _inserted(conn: Connection, event: Event, now: int) -> Any:
    """The event's row, locked: a second delivery waits here for the first."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    row = {
        "id": event.id,
        "type": event.type,
        "created": event.created,
        "payload": event.payload,
        "state": "received",
        "tries": 0,
        "received_at": now,
    }
    conn.execute(make(events).values(row).on_conflict_do_nothing())
    return conn.execute(select(events).where(events.c.id == event.id).with_for_update()).one()


def credit_intent(conn: Connection, intent: Json, now: int) -> bool:
    """Credit a payment intent of ours that succeeded, once; close its recharge; keep its card."""
    payment = payment_of(intent)
    if payment is None or intent.get("status") != "succeeded":
        return False
    credited = _credit(conn, payment, now)
    recharge_id = intent["metadata"].get("recharge_id")
    if recharge_id:
        close_recharge(conn, recharge_id, now, payment_intent_id=intent["id"])
    if intent.get("setup_future_usage") == "off_session" and intent.get("payment_method"):
        set_card(conn, payment.organization_id, intent["payment_method"])
    return credited


def payment_of(intent: Mapping[str, Any]) -> Payment | None:
    """Read what a payment intent bought; None for one that is not ours."""
    metadata = intent.get("metadata") or {}
    kind, organization_id = metadata.get("onereel"), metadata.get("organization_id")
    if kind not in (TOP_UP, RECHARGE) or not organization_id:
        return None
    amount = micros_of(intent.get("amount_received") or intent["amount"], intent["currency"])
    memo = "automatic recharge" if kind == RECHARGE else "top-up by Checkout"
    return Payment(intent["id"], organization_id, amount, kind, memo)


def _credit(conn: Connection, payment: Payment, now: int) -> bool:
    lock(conn, payment.organization_id)
    credited = credit_payment(conn, payment, now)
    if credited:  # it may have ended a suspension that stood before one for an unpaid invoice
        decide_suspension(conn, payment.organization_id)
    return credited


def _session_paid(conn: Connection, event: Event, now: int) -> None:
    session = event.object
    metadata = session.get("metadata") or {}
    if metadata.get("onereel") != TOP_UP or session.get("payment_status") != "paid":
        return
    amount = micros_of(session["amount_total"], session["currency"])
    _credit(
        conn,
        Payment(session["payment_intent"], metadata["organization_id"], amount, TOP_UP, "top-up by Checkout"),
        now,
    )


def _intent_succeeded(conn: Connection, event: Event, now: int) -> None:
    credit_intent(conn, event.object, now)


def _intent_failed(conn: Connection, event: Event, now: int) -> None:
    intent = event.object
    recharge_id = (intent.get("metadata") or {}).get("recharge_id")
    if recharge_id:
        reason = (intent.get("last_payment_error") or {}).get("message") or "the payment failed"
        close_recharge(conn, recharge_id, now, payment_intent_id=intent["id"], error=reason)


def _refund(conn: Connection, event: Event, now: int) -> None:
    refund_changed(conn, event.object, event.created, now)


def _charge_refunded(conn: Connection, event: Event, now: int) -> None:
    charge_refunded(conn, event.object, now)


def _dispute(conn: Connection, event: Event, now: int) -> None:
    dispute_changed(conn, event.object, event.created, now)


def _invoice(status: str) -> Callable[[Connection, Event, int], None]:
    def changed(conn: Connection, event: Event, now: int) -> None:
        invoice_changed(conn, event.object, status, event.created, now)

    return changed


def _subscription(conn: Connection, event: Event, _now: int) -> None:
    subscription_changed(conn, event.object, event.created)


def _card_removed(conn: Connection, event: Event, _now: int) -> None:
    forget_card(conn, event.object["id"])


def _default_card(conn: Connection, event: Event, _now: int) -> None:
    """The customer chose another card in the portal: the newest choice holds, and other changes are none."""
    organization_id = organization_of(conn, event.object["id"])
    chosen = (event.object.get("invoice_settings") or {}).get("default_payment_method")
    before = event.payload["data"].get("previous_attributes")
    if organization_id is None or not chosen or (before is not None and "invoice_settings" not in before):
        return
    known = Known(event.object["id"], "customer", "updated", 0, 0, event.created)
    if remember(conn, known):
        set_card(conn, organization_id, chosen)


_HANDLERS: Final[dict[str, Callable[[Connection, Event, int], None]]] = {
    "checkout.session.completed": _session_paid,
    "checkout.session.async_payment_succeeded": _session_paid,
    "payment_intent.succeeded": _intent_succeeded,
    "payment_intent.payment_failed": _intent_failed,
    "payment_intent.canceled": _intent_failed,
    "charge.refunded": _charge_refunded,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.closed": _dispute,
    "invoice.paid": _invoice("paid"),
    "invoice.payment_failed": _invoice("failed"),
    "invoice.voided": _invoice("void"),
    "invoice.marked_uncollectible": _invoice("uncollectible"),
    "customer.subscription.updated": _subscription,
    "customer.subscription.deleted": _subscription,
    "customer.updated": _default_card,
    "payment_method.detached": _card_removed,
}

HANDLED_TYPES: Final = tuple(_HANDLERS)
"""What the webhook endpoint at Stripe should be subscribed to."""
