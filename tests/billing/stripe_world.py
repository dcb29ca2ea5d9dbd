"""What the double's account holds: objects as Stripe keeps them, what happens to them, the events that tell of it."""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.billing.stripe_params import Refusal

Json = dict[str, Any]
DAY = 86_400
OLDEST = 35 * DAY
AHEAD = 300


@dataclass
class World:
    """One account. `offset` moves its clock, in seconds."""

    offset: float = 0
    customers: dict[str, Json] = field(default_factory=dict)
    sessions: dict[str, Json] = field(default_factory=dict)
    cards: dict[str, Json] = field(default_factory=dict)
    intents: dict[str, Json] = field(default_factory=dict)
    charges: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    disputes: dict[str, Json] = field(default_factory=dict)
    subscriptions: dict[str, Json] = field(default_factory=dict)
    invoices: dict[str, Json] = field(default_factory=dict)
    meters: dict[str, Json] = field(default_factory=dict)
    prices: set[str] = field(default_factory=set)
    usage: dict[str, Json] = field(default_factory=dict)
    portals: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def now(self) -> int:
        return int(time.time() + self.offset)

    def new_id(self, prefix: str) -> str:
        """As long as Stripe's own, which matters where they become keys."""
        return f"{prefix}_{next(self._ids):024d}"

    def emit(self, kind: str, subject: Json) -> Json:
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": "2026-10-28.endive",
            "type": kind,
            "created": self.now(),
            "livemode": False,
            "data": {"object": _copy(subject)},
        }
        self.events.append(event)
        return event

    # What our code asks for

    def create_customer(self, fields: Json) -> Json:
        return self._add(self.customers, "cus", "customer", metadata=fields.get("metadata", {}))

    def create_session(self, fields: Json) -> Json:
        if fields.get("mode") == "payment" and not fields.get("line_items"):
            raise Refusal("You must pass `line_items` in payment mode.", param="line_items")
        if "success_url" not in fields:
            raise Refusal("You must pass `success_url`.", param="success_url")
        self._customer(fields)
        total = sum(
            int(item["price_data"]["unit_amount"]) * int(item.get("quantity", 1))
            for item in fields["line_items"]
        )
        self._large_enough(total)
        number = next(self._ids)
        session = {
            "id": f"cs_test_{number:058d}",
            "object": "checkout.session",
            "url": f"https://checkout.stripe.example/c/pay/{number}",
            "created": self.now(),
            "expires_at": self.now() + DAY,
            "mode": fields["mode"],
            "customer": fields["customer"],
            "currency": fields["line_items"][0]["price_data"]["currency"],
            "amount_total": total,
            "metadata": fields.get("metadata", {}),
            "payment_status": "unpaid",
            "status": "open",
            "payment_intent": None,
            "intent_data": fields.get("payment_intent_data", {}),
        }
        self.sessions[session["id"]] = session
        return session

    def create_portal(self, fields: Json) -> Json:
        if "customer" not in fields:
            raise Refusal("Missing required param: customer.", param="customer", code="parameter_missing")
        self._customer(fields)
        portal = {
            "id": self.new_id("bps"),
            "object": "billing_portal.session",
            "url": "https://billing.stripe.example/p/session/1",
            **fields,
        }
        self.portals.append(portal)
        return portal

    def create_intent(self, fields: Json) -> Json:
        self._large_enough(int(fields["amount"]))
        self._customer(fields)
        card = self.cards.get(fields.get("payment_method", ""))
        if card is None or card["customer"] != fields["customer"]:
            raise Refusal("No such PaymentMethod", param="payment_method", code="resource_missing")
        intent = self.add_intent(
            int(fields["amount"]), fields["customer"], fields.get("metadata", {}), fields["payment_method"]
        )
        if card.get("declines"):
            intent |= {
                "status": "requires_payment_method",
                "last_payment_error": {"message": "Your card was declined."},
            }
            self.emit("payment_intent.payment_failed", intent)
            raise Refusal(
                "Your card was declined.",
                status=402,
                code="card_declined",
                decline_code="insufficient_funds",
                payment_intent=_copy(intent),
                type="card_error",
            )
        self._succeed(intent)
        return intent

    def create_subscription(self, fields: Json) -> Json:
        self._customer(fields)
        if not fields.get("items") or any(item.get("price") not in self.prices for item in fields["items"]):
            raise Refusal("No such price", param="items[0][price]", code="resource_missing")
        card = self.cards.get(fields.get("default_payment_method", ""))
        if card is None or card["customer"] != fields["customer"]:
            raise Refusal("No such PaymentMethod", param="default_payment_method", code="resource_missing")
        return self._add(
            self.subscriptions,
            "sub",
            "subscription",
            customer=fields["customer"],
            status="active",
            metadata=fields.get("metadata", {}),
        )

    def meter_event(self, fields: Json) -> Json:
        self._active_meter(fields["event_name"])
        payload = fields["payload"]
        self._metered_payload(payload)
        stamp = int(fields.get("timestamp", self.now()))
        if not self.now() - OLDEST <= stamp <= self.now() + AHEAD:
            raise Refusal("The timestamp must be within the past 35 days", param="timestamp")
        identifier = fields.get("identifier") or self.new_id("id")
        known = self.usage.get(identifier)
        if len(identifier) > 100:
            raise Refusal("The identifier is too long", param="identifier")
        if known is not None and known["created"] > self.now() - DAY:
            raise Refusal(f"An event already exists with identifier {identifier}.", param="identifier")
        if known is not None:
            identifier_again = f"{identifier}#{next(self._ids)}"
            self.usage[identifier_again] = known
        self.usage[identifier] = {
            "object": "billing.meter_event",
            "created": self.now(),
            "event_name": fields["event_name"],
            "identifier": identifier,
            "payload": payload,
            "timestamp": stamp,
            "cancelled": False,
        }
        return self.usage[identifier]

    def _active_meter(self, name: str) -> None:
        meter = next((each for each in self.meters.values() if each["event_name"] == name), None)
        if meter is None or meter["status"] != "active":
            raise Refusal(f"No active meter found for event name {name}", param="event_name")

    def _metered_payload(self, payload: Json) -> None:
        if set(payload) != {"stripe_customer_id", "value"}:
            raise Refusal("The payload needs stripe_customer_id and value", param="payload")
        if payload["stripe_customer_id"] not in self.customers:
            raise Refusal("No such customer", param="payload[stripe_customer_id]")
        if not payload["value"].isdecimal():
            raise Refusal("The value must be a whole number", param="payload[value]")

    def adjust(self, fields: Json) -> Json:
        identifier = fields.get("cancel", {}).get("identifier", "")
        event = self.usage.get(identifier)
        if event is None or event["event_name"] != fields["event_name"]:
            raise Refusal(f"No event found with identifier {identifier}", param="cancel[identifier]")
        if event["created"] < self.now() - DAY:
            raise Refusal("The event is older than 24 hours", param="cancel[identifier]")
        if event["cancelled"]:
            raise Refusal("The event was already cancelled", param="cancel[identifier]")
        event["cancelled"] = True
        return {
            "object": "billing.meter_event_adjustment",
            "status": "pending",
            "type": "cancel",
            "cancel": {"identifier": identifier},
            "event_name": fields["event_name"],
        }

    def summaries(self, meter_id: str, fields: Json) -> list[Json]:
        start, end = int(fields["start_time"]), int(fields["end_time"])
        if fields.get("value_grouping_window") == "day" and (start % DAY or end % DAY):
            raise Refusal("The times must align with UTC days", param="start_time")
        name = self.meters[meter_id]["event_name"]
        sums: dict[int, int] = {}
        for event in self.usage.values():
            mine = event["payload"]["stripe_customer_id"] == fields["customer"]
            if (
                mine
                and event["event_name"] == name
                and not event["cancelled"]
                and start <= event["timestamp"] < end
            ):
                day = event["timestamp"] - event["timestamp"] % DAY
                sums[day] = sums.get(day, 0) + int(event["payload"]["value"])
        return [
            {
                "id": f"mtrusg_{day}",
                "object": "billing.meter_event_summary",
                "aggregated_value": float(value),
                "start_time": day,
                "end_time": day + DAY,
                "meter": meter_id,
            }
            for day, value in sorted(sums.items(), reverse=True)
        ]

    # What customers, banks and Stripe do

    def save_card(self, customer_id: str, *, declines: bool = False) -> str:
        card = self._add(self.cards, "pm", "payment_method", customer=customer_id, type="card")
        card["declines"] = declines
        return str(card["id"])

    def pay(self, session_id: str, *, later: bool = False) -> Json:
        """Pay a session; with `later` by a method that takes days. Answers its payment intent."""
        session = self.sessions[session_id]
        data = session["intent_data"]
        card = self.save_card(session["customer"])
        intent = self.add_intent(session["amount_total"], session["customer"], data.get("metadata", {}), card)
        intent["setup_future_usage"] = data.get("setup_future_usage")
        session |= {"status": "complete", "payment_intent": intent["id"]}
        if later:
            intent["status"] = "processing"
            self.emit("checkout.session.completed", session)
            return intent
        session["payment_status"] = "paid"
        self._succeed(intent)
        self.emit("checkout.session.completed", session)
        return intent

    def arrive(self, session_id: str) -> None:
        """The money of a `later` session comes in."""
        session = self.sessions[session_id]
        session["payment_status"] = "paid"
        self._succeed(self.intents[session["payment_intent"]])
        self.emit("checkout.session.async_payment_succeeded", session)

    def refund(self, intent_id: str, amount: int, status: str = "succeeded") -> Json:
        charge = self._charge(intent_id)
        if amount > charge["amount"] - charge["amount_refunded"]:
            raise Refusal("Refund amount is greater than unrefunded amount on charge", param="amount")
        charge["amount_refunded"] += amount
        refund = self._add(
            self.refunds,
            "re",
            "refund",
            amount=amount,
            currency="usd",
            charge=charge["id"],
            payment_intent=intent_id,
            status=status,
        )
        self.emit("refund.created", refund)
        self.emit("charge.refunded", charge)
        return refund

    def set_refund(self, refund_id: str, status: str) -> None:
        refund = self.refunds[refund_id]
        refund["status"] = status
        if status in {"failed", "canceled"}:
            self.charges[refund["charge"]]["amount_refunded"] -= refund["amount"]
        self.emit("refund.failed" if status == "failed" else "refund.updated", refund)

    def dispute(self, intent_id: str, amount: int, status: str = "needs_response") -> Json:
        charge = self._charge(intent_id)
        dispute = self._add(
            self.disputes,
            "du",
            "dispute",
            amount=amount,
            currency="usd",
            charge=charge["id"],
            payment_intent=intent_id,
            status=status,
        )
        self.emit("charge.dispute.created", dispute)
        return dispute

    def close_dispute(self, dispute_id: str, status: str) -> None:
        self.disputes[dispute_id]["status"] = status
        self.emit("charge.dispute.closed", self.disputes[dispute_id])

    def invoice(self, subscription_id: str, total: int) -> Json:
        subscription = self.subscriptions[subscription_id]
        return self._add(
            self.invoices,
            "in",
            "invoice",
            customer=subscription["customer"],
            currency="usd",
            subtotal=total,
            subtotal_excluding_tax=total,
            total=total,
            total_excluding_tax=total,
            amount_paid=0,
            number=f"ONE-{next(self._ids)}",
            status="open",
            hosted_invoice_url="https://invoice.stripe.example/i/1",
            invoice_pdf="https://invoice.stripe.example/i/1/pdf",
            parent={
                "type": "subscription_details",
                "subscription_details": {"subscription": subscription_id, "metadata": {}},
            },
        )

    def bill(self, subscription_id: str) -> Json:
        """End the billing period: an invoice of the usage that lies in it, to the cent."""
        subscription = self.subscriptions[subscription_id]
        start, end = subscription.get("billed_until", subscription["created"]), self.now()
        used = sum(
            int(event["payload"]["value"])
            for event in self.usage.values()
            if event["payload"]["stripe_customer_id"] == subscription["customer"]
            and not event["cancelled"]
            and start <= event["timestamp"] < end
        )
        subscription["billed_until"] = end
        return self.invoice(subscription_id, (used + 5_000) // 10_000)

    def invoice_fails(self, invoice_id: str) -> None:
        self.emit("invoice.payment_failed", self.invoices[invoice_id])

    def invoice_paid(self, invoice_id: str) -> None:
        invoice = self.invoices[invoice_id]
        invoice |= {"status": "paid", "amount_paid": invoice["total"]}
        self.emit("invoice.paid", invoice)

    def set_subscription(self, subscription_id: str, status: str) -> None:
        self.subscriptions[subscription_id]["status"] = status
        kind = "deleted" if status == "canceled" else "updated"
        self.emit(f"customer.subscription.{kind}", self.subscriptions[subscription_id])

    def add_meter(self, event_name: str) -> str:
        meter = self._add(self.meters, "mtr", "billing.meter", event_name=event_name, status="active")
        return str(meter["id"])

    def add_intent(self, amount: int, customer: str, metadata: Json, card: str) -> Json:
        return self._add(
            self.intents,
            "pi",
            "payment_intent",
            amount=amount,
            amount_received=0,
            currency="usd",
            customer=customer,
            metadata=metadata,
            payment_method=card,
            status="requires_confirmation",
            last_payment_error=None,
            setup_future_usage=None,
        )

    def _succeed(self, intent: Json) -> None:
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        self._add(
            self.charges,
            "ch",
            "charge",
            amount=intent["amount"],
            amount_refunded=0,
            currency="usd",
            customer=intent["customer"],
            payment_intent=intent["id"],
            status="succeeded",
            receipt_url="https://pay.stripe.example/receipts/1",
        )
        self.emit("payment_intent.succeeded", intent)

    def _charge(self, intent_id: str) -> Json:
        return next(each for each in self.charges.values() if each["payment_intent"] == intent_id)

    def _customer(self, fields: Json) -> None:
        if fields.get("customer") not in self.customers:
            raise Refusal(f"No such customer: '{fields.get('customer')}'", param="customer")

    def _large_enough(self, amount: int) -> None:
        if amount < 50:
            raise Refusal("Amount must be at least $0.50 usd", param="amount", code="amount_too_small")

    def _add(self, where: dict[str, Json], prefix: str, kind: str, **fields: Any) -> Json:
        made = {"id": self.new_id(prefix), "object": kind, "created": self.now(), **fields}
        where[made["id"]] = made
        return made


def _copy(value: Json) -> Json:
    copied: Json = json.loads(json.dumps(value))
    return copied
