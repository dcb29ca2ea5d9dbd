"""The configured Stripe account, and one customer there for each organization that pays."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import structlog

from billing import stripe_customers as customers
from billing.stripe_client import Stripe, StripeRefused, StripeUnavailable
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import ApiError, BadRequest, Unavailable
from gateway.settings import StripeAccount as StripeSettings

log = structlog.get_logger(__name__)

Json = dict[str, Any]


class StripeNotConfigured(BadRequest):
    """This installation collects nothing through Stripe, or not what was asked for."""

    default_code = "stripe_not_configured"

    def __init__(self, setting: str) -> None:
        super().__init__(
            f"Payments by Stripe are not set up here: the operator must set ONEREEL_STRIPE__{setting.upper()} "
            "(see docs/stripe.md). Until then the operator grants credit."
        )


@contextmanager
def told_to_clients() -> Iterator[None]:
    """Turn what Stripe refuses or cannot do now into answers of ours."""
    try:
        yield
    except StripeRefused as error:
        log.warning("stripe.refused", error=str(error), code=error.code)
        raise BadRequest(f"Stripe refused this: {error}", code="stripe_refused") from error
    except StripeUnavailable as error:
        log.warning("stripe.unavailable", error=str(error))
        raise Unavailable(
            "Stripe cannot be reached right now; please try again soon.",
            code="stripe_unavailable",
            headers={"Retry-After": "5"},
        ) from error


class Account:
    """Stripe as far as it is configured. Nothing of its package is loaded before the first call."""

    def __init__(self, db: Database, clock: Clock, settings: StripeSettings) -> None:
        self.settings = settings
        self._db = db
        self._clock = clock
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._stripe = Stripe(key, api_base=settings.api_base) if key else None

    @property
    def configured(self) -> bool:
        """Whether there is an account at all."""
        return self._stripe is not None

    @property
    def stripe(self) -> Stripe:
        """The account. StripeNotConfigured without one."""
        if self._stripe is None:
            raise StripeNotConfigured("api_key")
        return self._stripe

    async def customer(self, organization_id: str) -> str:
        """The organization's customer, made at the first need and once, whoever asks at the same time."""
        stripe, now = self.stripe, self._clock.now_ms()
        row: Any = await self.known(organization_id)
        if row is None:
            row = await self._db.write(
                lambda conn: customers.reserve(conn, organization_id, uuid4().hex, now)
            )
        if row.customer_id is not None:
            return str(row.customer_id)
        try:
            made = await stripe.create_customer(
                {"metadata": {"organization_id": organization_id}, "name": organization_id},
                customers.key_of("customer", row.creation_key),
            )
        except StripeUnavailable as error:
            if error.answered:
                await self._renew(organization_id, row.creation_key)
            raise
        return await self._db.write(lambda conn: customers.set_customer(conn, organization_id, made["id"]))

    async def known(self, organization_id: str) -> Any | None:
        """Read what is known of the organization's customer."""
        return await self._db.read(lambda conn: customers.find(conn, organization_id))

    async def saved_card(self, organization_id: str) -> str | None:
        """The card to charge without the customer: the one kept here, else the newest at Stripe."""
        row = await self.known(organization_id)
        if row is None or row.customer_id is None:
            return None
        if row.payment_method_id is not None:
            return str(row.payment_method_id)
        cards = await self.stripe.cards(row.customer_id)
        return str(cards[0]["id"]) if cards else None

    async def close(self) -> None:
        """Close the connections to Stripe."""
        if self._stripe is not None:
            await self._stripe.close()

    async def _renew(self, organization_id: str, old: str) -> None:
        await self._db.write(
            lambda conn: customers.renew_creation_key(conn, organization_id, old, uuid4().hex)
        )


class EventFailed(ApiError):
    """An event of Stripe could not be handled: 500, so that it comes again."""

    default_code = "stripe_event_failed"
