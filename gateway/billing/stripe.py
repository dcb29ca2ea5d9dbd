"""Paying by Stripe: top-ups, portal, invoices, automatic recharge, postpaid subscriptions, and the webhook inbox."""

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import structlog
from sqlalchemy import Connection, select

from billing import stripe_customers as customers
from billing.money import to_decimal, to_micros
from billing.stripe_client import Page
from billing.stripe_events import (
    TOP_UP,
    BadSignature,
    check_signature,
    read_event,
    receive,
    record_failure,
)
from billing.stripe_opening import begin
from billing.stripe_payments import CENT_MICROS
from billing.stripe_subscriptions import decide_suspension, invoiced_micros, subscription_of
from billing.tables import balances
from gateway.audit.notes import Of, caller
from gateway.billing.stripe_account import Account, EventFailed, StripeNotConfigured, told_to_clients
from gateway.billing.stripe_forms import CheckoutForm, PortalForm, RechargeForm
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.idempotency.service import Claim, record

log = structlog.get_logger(__name__)

Json = dict[str, Any]
_LIVE: Final = ("active", "trialing", "past_due", "unpaid", "incomplete", "paused")


class StripeService:
    """Every method acts for one organization. Writing methods record what they answer under the request's claim."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        account: Account,
        *,
        wall: Callable[[], float] = time.time,
        public_url: str | None = None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._account = account
        self._wall = wall
        self._page = f"{public_url.rstrip('/')}/billing" if public_url else None

    @property
    def configured(self) -> bool:
        """Whether anything can be paid here."""
        return self._account.configured

    async def standing(self, organization_id: str) -> Json:
        """Show what is known here of the organization at Stripe, without asking Stripe."""
        row = await self._account.known(organization_id) if self.configured else None
        status = None if row is None else row.subscription_status
        return {
            "configured": self.configured,
            "metered": bool(self.configured and self._account.settings.meter_price),
            "known": row is not None and row.customer_id is not None,
            "subscription": None if status in customers.ENDED else status,
        }

    async def checkout(self, organization_id: str, form: CheckoutForm, claim: Claim | None = None) -> Json:
        """Begin a top-up: the balance grows when Stripe says that it was paid."""
        stripe = self._account.stripe
        settings = self._account.settings
        success = form.success_url or settings.success_url or (self._page and f"{self._page}?paid=1")
        if not success:
            raise BadRequest(
                "Missing required field 'success_url': send it, or the operator sets ONEREEL_STRIPE__SUCCESS_URL "
                "or ONEREEL_PUBLIC_URL.",
                param="success_url",
                code="missing_required_parameter",
            )
        with told_to_clients():
            customer = await self._account.customer(organization_id)
            metadata = {"onereel": TOP_UP, "organization_id": organization_id}
            intent: Any = {"metadata": metadata}
            if form.save_card:
                intent["setup_future_usage"] = "off_session"
            params: Any = {
                "mode": "payment",
                "customer": customer,
                "client_reference_id": organization_id,
                "line_items": [_credit_line(form.amount_micros)],
                "metadata": metadata,
                "payment_intent_data": intent,
                "success_url": success,
            }
            if cancel := form.cancel_url or settings.cancel_url or self._page:
                params["cancel_url"] = cancel
            made = await stripe.create_checkout(params, _key(organization_id, claim))
        answer = {
            "object": "billing.checkout",
            "id": made["id"],
            "url": made["url"],
            "expires_at": made.get("expires_at"),
        }
        return await self._recorded(answer, claim)

    async def portal(self, organization_id: str, form: PortalForm, claim: Claim | None = None) -> Json:
        """Open the customer portal: cards, invoices, subscription."""
        stripe = self._account.stripe
        with told_to_clients():
            params: Any = {"customer": await self._account.customer(organization_id)}
            if back := form.return_url or self._account.settings.success_url or self._page:
                params["return_url"] = back
            made = await stripe.create_portal(params, _key(organization_id, claim))
        return await self._recorded({"object": "billing.portal", "url": made["url"]}, claim)

    async def invoices(self, organization_id: str, limit: int, after: str | None) -> Page:
        """List the organization's invoices, newest first."""
        return await self._listed("invoices", organization_id, limit, after, _invoice)

    async def receipts(self, organization_id: str, limit: int, after: str | None) -> Page:
        """List the organization's payments with their receipts, newest first."""
        return await self._listed("charges", organization_id, limit, after, _receipt)

    async def recharge(self, organization_id: str) -> Json:
        """Show automatic recharge."""
        _ = self._account.stripe
        return _recharge(await self._account.known(organization_id))

    async def set_recharge(
        self, organization_id: str, form: RechargeForm, claim: Claim | None = None
    ) -> Json:
        """Switch automatic recharge on or off. BadRequest without a saved card."""
        _ = self._account.stripe
        now, by = self._clock.now_ms(), caller()
        values: dict[str, Any] = {"recharge_enabled": form.enabled}
        if form.threshold_usd is not None:
            values["recharge_threshold"] = to_micros(Decimal(form.threshold_usd))
        if form.amount_usd is not None:
            values["recharge_amount"] = to_micros(Decimal(form.amount_usd))
        if form.enabled:
            values["payment_method_id"] = await self._card(organization_id)

        def write(conn: Connection) -> Json:
            row = customers.reserve(conn, organization_id, uuid4().hex, now)
            if form.enabled and not values.get("recharge_amount", row.recharge_amount):
                raise BadRequest(
                    "Missing required field 'amount_usd': how much to charge each time.",
                    param="amount_usd",
                    code="missing_required_parameter",
                )
            customers.set_recharge(conn, organization_id, **values)
            answer = _recharge(customers.find(conn, organization_id))
            of, before = organization_id, _recharge(row)
            by.note(conn, "recharge.updated", of, Of(of), before=before, after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def subscribe(self, organization_id: str, claim: Claim | None = None) -> Json:
        """Start the metered subscription of a postpaid organization, or show the one that runs."""
        stripe, price = self._account.stripe, self._account.settings.meter_price
        if not price:
            raise StripeNotConfigured("meter_price")
        query = select(balances.c.mode).where(balances.c.organization_id == organization_id)
        if await self._db.read(lambda conn: conn.scalar(query)) != "postpaid":
            raise BadRequest(
                "Only a postpaid organization subscribes; ask the operator.", code="not_postpaid"
            )
        with told_to_clients():
            customer = await self._account.customer(organization_id)
        card = await self._card(organization_id)
        with told_to_clients():
            row: Any = await self._account.known(organization_id)
            found = await self._running(row)
            invoiced = await self._invoiced(customer, found)
            if found is None:
                key = customers.key_of("subscription", row.creation_key, row.subscription_id or "")
                found = await stripe.create_subscription(
                    {
                        "customer": customer,
                        "items": [{"price": price}],
                        "default_payment_method": card,
                        "metadata": {"organization_id": organization_id},
                    },
                    key,
                )
        return await self._subscribed(organization_id, found, invoiced, claim)

    async def receive(self, body: bytes, signature: str | None) -> Json:
        """Take in one webhook request. BadRequest for what Stripe did not sign; 500 for what must come again."""
        secret = self._account.settings.webhook_secret
        if secret is None:
            raise StripeNotConfigured("webhook_secret")
        try:
            check_signature(body, signature, secret.get_secret_value(), self._wall())
            event = read_event(json.loads(body))
        except BadSignature as error:
            raise BadRequest(f"This is not signed by Stripe: {error}.", code="invalid_signature") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequest(f"This is not an event: {error}.", code="invalid_event") from None
        now = self._clock.now_ms()
        try:
            state = await self._db.write(lambda conn: receive(conn, event, now))
        except Exception as error:
            log.exception("stripe.event_failed", event_id=event.id, type=event.type)
            reason = f"{type(error).__name__}: {error}"
            await self._db.write(lambda conn: record_failure(conn, event, reason, now))
            raise EventFailed(f"The event {event.id} could not be handled; it is kept.") from error
        log.info("stripe.event", event_id=event.id, type=event.type, state=state)
        return {"received": True}

    async def _card(self, organization_id: str) -> str:
        with told_to_clients():
            card = await self._account.saved_card(organization_id)
        if card is None:
            raise BadRequest(
                "There is no saved card. Top up once with save_card true, or add one in the portal "
                "(POST /v1/billing/portal).",
                code="no_saved_card",
            )
        return card

    async def _running(self, row: Any) -> Json | None:
        """Find the subscription that runs: the one that is known here, or one whose beginning was not heard of."""
        found = None
        async for each in self._account.stripe.every("subscriptions", customer=row.customer_id, status="all"):
            ours = (each.get("metadata") or {}).get("organization_id") == row.organization_id
            if ours and each["status"] in _LIVE:
                found = each if found is None or each["id"] == row.subscription_id else found
        return found

    async def _invoiced(self, customer_id: str, running: Json | None) -> int:
        """What subscriptions' invoices carry so far. BadRequest while one of an ended subscription may still change."""
        total = 0
        async for invoice in self._account.stripe.every("invoices", customer=customer_id):
            of = subscription_of(invoice)
            if of is not None and invoice["status"] == "draft" and (running is None or of != running["id"]):
                raise BadRequest(
                    "The last invoice of the subscription that ended is still a draft at Stripe; try again "
                    "when it is final.",
                    code="invoice_not_final",
                )
            total += 0 if of is None else invoiced_micros(invoice)
        return total

    async def _subscribed(
        self, organization_id: str, subscription: Json, invoiced: int, claim: Claim | None
    ) -> Json:
        now = self._clock.now_ms()
        answer = {
            "object": "billing.subscription",
            "id": subscription["id"],
            "status": subscription["status"],
        }

        def write(conn: Connection) -> int | None:
            opening = begin(conn, organization_id, subscription, invoiced, now)
            if opening is not None:
                decide_suspension(conn, organization_id)
            record(conn, claim, 200, answer, now)
            return opening

        opening = await self._db.write(write)
        if opening is not None:
            log.info("stripe.subscribed", organization_id=organization_id, opening_micros=opening)
        return answer

    async def _listed(
        self, kind: str, organization_id: str, limit: int, after: str | None, view: Callable[[Json], Json]
    ) -> Page:
        stripe = self._account.stripe
        row = await self._account.known(organization_id)
        if row is None or row.customer_id is None or limit == 0:
            return Page([], has_more=False)
        with told_to_clients():
            page = await stripe.page(kind, {"customer": row.customer_id}, limit, after)
        return Page([view(each) for each in page.data], page.has_more)

    async def _recorded(self, answer: Json, claim: Claim | None) -> Json:
        if claim is not None:
            now = self._clock.now_ms()
            await self._db.write(lambda conn: record(conn, claim, 200, answer, now))
        return answer


def _credit_line(amount_micros: int) -> Any:
    return {
        "quantity": 1,
        "price_data": {
            "currency": "usd",
            "unit_amount": amount_micros // CENT_MICROS,
            "product_data": {"name": "Prepaid video credit"},
        },
    }


def _key(organization_id: str, claim: Claim | None) -> str:
    """The same for a repeat of the same request, so that a crash in between makes no second session."""
    if claim is None:
        return f"onereel-{uuid4().hex}"
    return customers.key_of(organization_id, *claim.slot, claim.request_hash)


def _recharge(row: Any | None) -> Json:
    if row is None:
        return {
            "object": "billing.recharge",
            "enabled": False,
            "threshold_usd": "0.00",
            "amount_usd": "0.00",
            "saved_card": False,
            "in_progress": False,
            "failures": 0,
            "last_error": None,
            "next_try_at": None,
        }
    return {
        "object": "billing.recharge",
        "enabled": row.recharge_enabled,
        "threshold_usd": _dollars(row.recharge_threshold),
        "amount_usd": _dollars(row.recharge_amount),
        "saved_card": row.payment_method_id is not None,
        "in_progress": row.recharge_id is not None,
        "failures": row.recharge_failures,
        "last_error": row.recharge_error,
        "next_try_at": row.recharge_due // 1000 if row.recharge_due else None,
    }


def _invoice(invoice: Json) -> Json:
    return {
        "object": "billing.invoice",
        "id": invoice["id"],
        "number": invoice.get("number"),
        "status": invoice.get("status"),
        "total_usd": _dollars(invoice["total"] * CENT_MICROS),
        "paid_usd": _dollars(invoice["amount_paid"] * CENT_MICROS),
        "created_at": invoice["created"],
        "hosted_invoice_url": invoice.get("hosted_invoice_url"),
        "invoice_pdf": invoice.get("invoice_pdf"),
    }


def _receipt(charge: Json) -> Json:
    return {
        "object": "billing.receipt",
        "id": charge["id"],
        "status": charge["status"],
        "amount_usd": _dollars(charge["amount"] * CENT_MICROS),
        "refunded_usd": _dollars(charge["amount_refunded"] * CENT_MICROS),
        "created_at": charge["created"],
        "receipt_url": charge.get("receipt_url"),
    }


def _dollars(micros: int) -> str:
    return f"{to_decimal(micros):.2f}"
