"""An organization that pays by Stripe: the services on a real database, against the double."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from billing.ledger import open_balance
from billing.ledger_moves import set_terms
from billing.stripe_client import Stripe
from billing.stripe_tables import customers, events, recharges
from billing.tables import balances, entries
from billing.verify import verify
from gateway.billing.meter_outbox import MeterOutbox
from gateway.billing.recharge import Recharges
from gateway.billing.stripe import StripeService
from gateway.billing.stripe_account import Account
from gateway.billing.stripe_forms import CheckoutForm
from gateway.clock import Clock
from gateway.db import Database
from gateway.settings import StripeAccount
from gateway.telemetry import Metrics
from tests.billing.stripe_double import API_KEY, EVENT_NAME, PRICE, SECRET, StripeDouble, stripe_double

ORG = "org_1"
USD = 1_000_000


def settings_of(double: StripeDouble) -> StripeAccount:
    return StripeAccount(
        api_key=API_KEY,
        webhook_secret=SECRET,
        api_base=double.base_url,
        meter_price=PRICE,
        success_url="https://shop.example/paid",
    )


@dataclass
class Payer:
    """The organization and the services that it pays by, whoever plays Stripe."""

    db: Database
    clock: Clock
    account: Account
    service: StripeService

    @property
    def stripe(self) -> Stripe:
        return self.account.stripe

    async def terms(self, mode: Any, credit_limit: int = 0) -> None:
        await self.db.write(
            lambda conn: set_terms(
                conn, ORG, subject="act_terms", now=1, mode=mode, credit_limit=credit_limit
            )
        )

    async def balance(self) -> Any:
        query = select(balances).where(balances.c.organization_id == ORG)
        return await self.db.read(lambda conn: conn.execute(query).one())

    async def customer(self) -> Any:
        query = select(customers).where(customers.c.organization_id == ORG)
        return await self.db.read(lambda conn: conn.execute(query).one())

    async def spend_down(self, left: int = 0) -> None:
        """Take the available credit away, past the ledger: for what happens when it is gone."""
        await self.db.write(lambda conn: conn.execute(update(balances).values(available=left)))

    async def steps(self, kind: str) -> int:
        """How many entries of a kind the ledger has."""
        query = select(func.count()).select_from(entries).where(entries.c.kind == kind)
        return await self.db.read(lambda conn: conn.execute(query).scalar_one())

    async def state_of(self, event: dict[str, Any]) -> Any:
        query = select(events).where(events.c.id == event["id"])
        return await self.db.read(lambda conn: conn.execute(query).one())

    async def books_are_right(self) -> None:
        assert await self.db.read(verify) == []

    def recharges(self) -> Recharges:
        return Recharges(self.db, self.stripe)

    async def recharge_rows(self) -> list[Any]:
        return await self.db.read(lambda conn: list(conn.execute(select(recharges).order_by(recharges.c.id))))

    async def recharges_due_now(self) -> None:
        """All waits and leases are over."""

        def write(conn: Connection) -> None:
            conn.execute(update(recharges).where(recharges.c.due.is_not(None)).values(due=0, lease_until=0))
            conn.execute(update(customers).values(recharge_due=0))

        await self.db.write(write)

    async def eventually(self, check: Any, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not await check():
                await asyncio.sleep(0.02)


@dataclass
class Shop(Payer):
    """What the tests of Stripe work with."""

    double: StripeDouble
    metrics: Metrics = field(default_factory=Metrics)

    async def checkout(self, amount: str = "25.00", *, save_card: bool = False) -> str:
        form = CheckoutForm(amount_usd=amount, save_card=save_card)
        return str((await self.service.checkout(ORG, form))["id"])

    async def top_up(self, amount: str = "25.00", *, save_card: bool = False) -> str:
        """A top-up that was paid and heard of; answers the payment intent."""
        session = await self.checkout(amount, save_card=save_card)
        intent = self.double.world.pay(session)
        await self.hear()
        return str(intent["id"])

    async def subscribe(self) -> str:
        """A postpaid organization with a saved card and a subscription."""
        customer = await self.account.customer(ORG)
        self.double.world.save_card(customer)
        await self.terms("postpaid", 100 * USD)
        return str((await self.service.subscribe(ORG))["id"])

    async def hear(self, *chosen: dict[str, Any]) -> None:
        """Deliver these events, or all there are, in this order."""
        for event in chosen or tuple(self.double.world.events):
            assert await self.tell(event) == {"received": True}

    async def tell(self, event: dict[str, Any]) -> dict[str, Any]:
        return await self.service.receive(*self.double.signed(event))

    def event(self, kind: str, n: int = -1) -> dict[str, Any]:
        return [each for each in self.double.world.events if each["type"] == kind][n]

    def meter_outbox(self) -> MeterOutbox:
        return MeterOutbox(self.db, self.clock, self.stripe, EVENT_NAME, self.metrics)


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with stripe_double() as running:
        yield running


@pytest.fixture
async def shop(db: Database, clock: Clock, double: StripeDouble) -> AsyncIterator[Shop]:
    def write(conn: Connection) -> None:
        open_balance(conn, ORG, "prepaid")

    await db.write(write)
    account = Account(db, clock, settings_of(double))
    service = StripeService(db, clock, account, wall=lambda: clock.now_ms() / 1000)
    yield Shop(db, clock, account, service, double)
    await account.close()
