"""Automatic recharge: charges the saved card once when prepaid credit falls below its threshold."""

from typing import Any, Final

import structlog

from billing import stripe_customers as customers
from billing.stripe_client import CardDeclined, Stripe, StripeRefused, StripeUnavailable
from billing.stripe_customers import Recharge
from billing.stripe_events import RECHARGE, credit_intent
from billing.stripe_payments import CENT_MICROS
from gateway.background import Polling
from gateway.db import Database
from gateway.ids import new_id
from gateway.jobs.settle import database_now

log = structlog.get_logger(__name__)

Json = dict[str, Any]
_LEASE_MS: Final = 120_000  # a charge is over in 20 s
_BACKOFF_MS: Final = (10_000, 60_000, 300_000, 1_800_000, 3_600_000)
_PROCESSING_MS: Final = 3_600_000
_CLOCKS_MS: Final = 3_600_000  # how far our clock may be ahead of Stripe's
_POLL_SECONDS: Final = 5.0


class Recharges(Polling):
    """Opens recharges as rows, then carries them out. Any number of processes may run one."""

    def __init__(self, db: Database, stripe: Stripe) -> None:
        super().__init__(_POLL_SECONDS)
        self._db = db
        self._stripe = stripe

    async def once(self) -> bool:
        """Begin and carry out one recharge; False if there was nothing to do."""
        if not await self._db.read(lambda conn: customers.recharges_wait(conn, database_now(conn))):
            return False
        await self._db.write(
            lambda conn: customers.open_recharge(conn, new_id("rch"), database_now(conn)), background=True
        )
        item = await self._db.write(
            lambda conn: customers.claim_recharge(conn, database_now(conn), _LEASE_MS), background=True
        )
        if item is None:
            return False
        await self._carry_out(item)
        return True

    async def _carry_out(self, item: Recharge) -> None:
        try:
            intent = await self._earlier(item) or await self._charge(item)
        except CardDeclined as error:
            await self._close(item, error.payment_intent, f"{error} ({error.code})")
        except StripeRefused as error:
            await self._close(item, None, str(error))
        except StripeUnavailable as error:
            wait = _BACKOFF_MS[min(item.tries, len(_BACKOFF_MS) - 1)]
            await self._later(item, str(error), wait, answered=error.answered)
        else:
            await self._settle(item, intent)

    async def _earlier(self, item: Recharge) -> Json | None:
        """Find what an earlier try of this recharge has made: it may have been charged without our knowing."""
        if item.fence == 1:
            return None
        since = {"gte": (item.created_at - _CLOCKS_MS) // 1000}
        async for each in self._stripe.every("payment_intents", customer=item.customer_id, created=since):
            if (each.get("metadata") or {}).get("recharge_id") == item.id:
                return each
        return None

    async def _charge(self, item: Recharge) -> Json:
        return await self._stripe.create_payment(
            {
                "amount": item.amount_micros // CENT_MICROS,
                "currency": "usd",
                "customer": item.customer_id,
                "payment_method": item.payment_method_id,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "confirm": True,
                "off_session": True,
                "description": "Prepaid video credit, automatic recharge",
                "metadata": {
                    "onereel": RECHARGE,
                    "organization_id": item.organization_id,
                    "recharge_id": item.id,
                },
            },
            item.key,
        )

    async def _settle(self, item: Recharge, intent: Json) -> None:
        if intent["status"] == "succeeded":
            await self._db.write(
                lambda conn: credit_intent(conn, intent, database_now(conn)), background=True
            )
            log.info("recharge.done", organization_id=item.organization_id, payment_intent=intent["id"])
        elif intent["status"] == "processing":
            await self._later(item, "the bank has not answered yet", _PROCESSING_MS, answered=False)
        else:
            reason = (intent.get("last_payment_error") or {}).get("message") or intent["status"]
            await self._close(item, intent["id"], f"the card was not charged: {reason}")

    async def _later(self, item: Recharge, error: str, wait_ms: int, *, answered: bool) -> None:
        await self._db.write(
            lambda conn: customers.postpone_recharge(
                conn, item, error, database_now(conn) + wait_ms, answered=answered
            ),
            background=True,
        )
        log.warning("recharge.later", organization_id=item.organization_id, error=error)

    async def _close(self, item: Recharge, payment_intent: str | None, error: str) -> None:
        await self._db.write(
            lambda conn: customers.close_recharge(
                conn, item.id, database_now(conn), payment_intent_id=payment_intent, error=error
            ),
            background=True,
        )
        log.warning("recharge.refused", organization_id=item.organization_id, error=error)
