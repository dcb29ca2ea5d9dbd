"""What is used while no subscription runs is billed by the next one: all of it, and once."""

import itertools
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from billing.ledger import Capture, Hold, capture_many, hold_many
from billing.ledger_moves import credit, restore
from billing.lots import grant_credit
from billing.meters import Usage, enqueue_usage
from billing.stripe_opening import begin
from billing.stripe_tables import meter_events
from gateway.billing.reconcile import reconcile
from gateway.clock import Clock
from gateway.errors import BadRequest
from tests.billing.stripe_double import EVENT_NAME, StripeDouble
from tests.billing.stripe_shop import ORG, USD, Shop, double, shop
from tests.billing.stripe_world import World

__all__ = ["double", "shop"]

DAY = 86_400


@pytest.fixture
def clock(double: StripeDouble) -> Clock:
    """Ours and Stripe's are the same."""
    return Clock(monotonic=lambda: time.monotonic() + double.world.offset)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite: the clock of the other database cannot be moved."""
    return f"sqlite:///{tmp_path / 'test.db'}"


_videos = itertools.count()


def held(conn: Connection, micros: int, now: int) -> Hold:
    hold = Hold(f"video_{next(_videos)}", ORG, micros, now)
    assert hold_many(conn, [hold]) == [None]
    return hold


def captured(conn: Connection, hold: Hold, now: int) -> None:
    """As a video ends."""
    paid: dict[str, int] = {}
    assert capture_many(conn, [Capture(hold, hold.amount_micros)], now, paid) == [None]
    enqueue_usage(conn, [Usage(f"led_capture_0_{hold.subject}", ORG, paid[hold.subject], now)], now)


async def use(shop: Shop, micros: int) -> None:
    now = shop.clock.now_ms()
    await shop.db.write(lambda conn: captured(conn, held(conn, micros, now), now))


async def postpaid(shop: Shop) -> None:
    """With a customer and a card, but no subscription."""
    shop.double.world.save_card(await shop.account.customer(ORG))
    await shop.terms("postpaid", 100 * USD)


async def sent(shop: Shop) -> None:
    while await shop.meter_outbox().once():
        pass


async def billed(shop: Shop, subscription: str) -> int:
    """The period's invoice, paid and heard of: in cents."""
    await sent(shop)
    shop.double.world.offset += 30 * DAY
    invoice = shop.double.world.bill(subscription)
    shop.double.world.invoice_paid(invoice["id"])
    await shop.hear(shop.event("invoice.paid"))
    return int(invoice["total"])


async def ended(shop: Shop, subscription: str) -> None:
    shop.double.world.offset += 5
    shop.double.world.set_subscription(subscription, "canceled")
    await shop.hear(shop.event("customer.subscription.deleted"))
    await let_go_on(shop)
    shop.double.world.offset += 5


async def let_go_on(shop: Shop) -> None:
    """By the operator, although a subscription ended or an invoice is unpaid."""
    await shop.db.write(lambda conn: restore(conn, ORG, "payment_failed"))


async def subscribed(shop: Shop) -> str:
    return str((await shop.service.subscribe(ORG))["id"])


async def test_what_was_used_before_is_on_the_first_invoice(shop: Shop) -> None:
    await shop.terms("postpaid", 100 * USD)
    await use(shop, 3 * USD)  # before there was a customer
    await postpaid(shop)
    await use(shop, 2 * USD)
    subscription = await subscribed(shop)
    await use(shop, 1 * USD)
    assert await billed(shop, subscription) == 600
    assert (await shop.balance()).available == 0
    await use(shop, 7 * USD)
    assert await billed(shop, subscription) == 700
    assert (await shop.balance()).available == 0


async def test_what_was_paid_before_is_not_on_it(shop: Shop) -> None:
    await postpaid(shop)
    await use(shop, 5 * USD)
    await shop.top_up("4.00")
    subscription = await subscribed(shop)
    assert await billed(shop, subscription) == 100
    assert (await shop.balance()).available == 0


async def test_nothing_owed_is_no_usage(shop: Shop) -> None:
    await postpaid(shop)
    await use(shop, 5 * USD)
    now = shop.clock.now_ms()

    def pay(conn: Connection) -> None:
        credit(conn, subject="act_1", organization_id=ORG, amount_micros=6 * USD, memo="bank", now=now)

    await shop.db.write(pay)
    await subscribed(shop)
    assert not await shop.meter_outbox().once()


async def test_videos_in_the_making_are_billed_when_they_end(shop: Shop) -> None:
    """Of a hold, what promotional credit covers is nobody's debt either."""
    await postpaid(shop)
    now = shop.clock.now_ms()

    def write(conn: Connection) -> list[Hold]:
        grant_credit(
            conn,
            subject="act_1",
            organization_id=ORG,
            amount_micros=2 * USD,
            expires_at=now + 1000 * 100 * DAY,
            memo="gift",
            now=now,
        )
        captured(conn, held(conn, USD, now), now)  # one dollar of the gift
        return [held(conn, 4 * USD, now), held(conn, 5 * USD, now)]  # and the other

    holds = await shop.db.write(write)
    await use(shop, 3 * USD)
    subscription = await subscribed(shop)
    await sent(shop)
    assert [each["payload"]["value"] for each in shop.double.world.usage.values()] == [str(3 * USD)]

    def end(conn: Connection) -> None:
        for hold in holds:
            captured(conn, hold, shop.clock.now_ms())

    await shop.db.write(end)
    assert await billed(shop, subscription) == 300 + (400 - 100) + 500
    assert (await shop.balance()).available == 0


async def test_the_next_subscription_bills_what_the_last_one_left(shop: Shop) -> None:
    """Ended without a last invoice: what was metered is on none, and neither is what came after."""
    await postpaid(shop)
    first = await subscribed(shop)
    await use(shop, 8 * USD)
    await sent(shop)
    await ended(shop, first)
    await use(shop, 1 * USD)
    second = await subscribed(shop)
    assert second != first
    assert await billed(shop, second) == 900
    assert (await shop.balance()).available == 0


async def test_an_unpaid_invoice_is_not_billed_again(shop: Shop) -> None:
    await postpaid(shop)
    first = await subscribed(shop)
    await use(shop, 8 * USD)
    await sent(shop)
    shop.double.world.offset += 30 * DAY
    invoice = shop.double.world.bill(first)
    await ended(shop, first)
    await use(shop, 1 * USD)
    second = await subscribed(shop)
    assert await billed(shop, second) == 100
    shop.double.world.invoice_paid(invoice["id"])
    await shop.hear(shop.event("invoice.paid"))
    assert (await shop.balance()).available == 0


async def test_an_invoice_that_is_paid_but_not_heard_of_is_not_billed_again(shop: Shop) -> None:
    await postpaid(shop)
    first = await subscribed(shop)
    await use(shop, 8 * USD)
    await sent(shop)
    shop.double.world.offset += 30 * DAY
    shop.double.world.invoice_paid(shop.double.world.bill(first)["id"])
    await ended(shop, first)
    await subscribed(shop)
    assert not await shop.meter_outbox().once()
    await shop.hear()
    assert (await shop.balance()).available == 0


async def test_a_draft_must_be_final_first(shop: Shop) -> None:
    await postpaid(shop)
    first = await subscribed(shop)
    await use(shop, 8 * USD)
    await sent(shop)
    shop.double.world.offset += 30 * DAY
    invoice = shop.double.world.bill(first)
    invoice["status"] = "draft"
    assert (await shop.service.subscribe(ORG))["id"] == first  # one that runs may have a draft
    await ended(shop, first)
    with pytest.raises(BadRequest) as refused:
        await shop.service.subscribe(ORG)
    assert refused.value.code == "invoice_not_final"
    assert list(shop.double.world.subscriptions) == [first]
    invoice["status"] = "open"
    await subscribed(shop)


async def test_usage_that_was_not_sent_in_time_is_billed_once(shop: Shop) -> None:
    await postpaid(shop)
    first = await subscribed(shop)
    await use(shop, 8 * USD)
    await ended(shop, first)
    second = await subscribed(shop)
    shop.double.world.offset += 3600
    assert await billed(shop, second) == 800
    assert len(shop.double.world.usage) == 1
    assert (await shop.balance()).available == 0


async def test_a_subscription_whose_beginning_was_not_heard_of(shop: Shop) -> None:
    await postpaid(shop)
    first = await subscribed(shop)
    second = shop.double.world.create_subscription(
        {
            "customer": (await shop.customer()).customer_id,
            "items": [{"price": next(iter(shop.double.world.prices))}],
            "default_payment_method": next(iter(shop.double.world.cards)),
            "metadata": {"organization_id": ORG},
        }
    )["id"]
    assert await subscribed(shop) == first  # while it runs, the one that is known counts
    await ended(shop, first)
    await use(shop, 2 * USD)
    assert await subscribed(shop) == second
    assert await billed(shop, second) == 200


async def test_nothing_is_dated_before_the_subscription(shop: Shop) -> None:
    """Where Stripe's clock is ahead: what lay before would be on no invoice."""
    await postpaid(shop)
    await use(shop, 2 * USD)
    now = shop.clock.now_ms()
    created = now // 1000 + 120
    ahead = {"id": "sub_ahead", "status": "active", "created": created}
    await shop.db.write(lambda conn: begin(conn, ORG, ahead, 0, now))
    await use(shop, 1 * USD)
    times = await shop.db.read(lambda conn: list(conn.scalars(select(meter_events.c.occurred_at))))
    assert len(times) == 2
    assert min(times) > created * 1000


@dataclass
class Life:
    """An organization to which anything may happen; the last step ends well."""

    shop: Shop
    dice: random.Random
    subscription: str | None = None

    @property
    def world(self) -> World:
        return self.shop.double.world

    async def step(self) -> None:
        self.world.offset += self.dice.randint(1, 5 * DAY)
        await self.dice.choice([self.use, self.use, self.send, self.bill, self.end, self.begin])()
        await self.shop.hear(*[each for each in self.world.events if self.dice.random() < 0.4])
        await let_go_on(self.shop)

    async def use(self) -> None:
        await use(self.shop, self.dice.randint(1, 900_000))

    async def send(self) -> None:
        await self.shop.meter_outbox().once()

    async def bill(self) -> None:
        if self.subscription is not None:
            await sent(self.shop)
            self.world.offset += 1
            invoice = self.world.bill(self.subscription)
            if self.dice.random() < 0.6:
                self.world.invoice_paid(invoice["id"])

    async def end(self) -> None:
        """With a last invoice or without."""
        if self.subscription is not None:
            if self.dice.random() < 0.5:
                self.world.bill(self.subscription)
            self.world.set_subscription(self.subscription, "canceled")
            self.subscription = None

    async def begin(self) -> None:
        self.subscription = self.subscription or await subscribed(self.shop)

    async def settle(self) -> None:
        await self.begin()
        self.world.offset += DAY
        await self.bill()
        for invoice in self.world.invoices.values():
            if invoice["status"] != "paid":
                self.world.invoice_paid(invoice["id"])
        await self.shop.hear()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_all_is_billed_once(shop: Shop, seed: int) -> None:
    """Usage, periods, ends and beginnings at random, some heard of late; when all is paid, nothing is owed."""
    await postpaid(shop)
    life = Life(shop, random.Random(seed))
    for _ in range(40):
        await life.step()
    await life.settle()
    left = (await shop.balance()).available
    assert abs(left) <= 5_000 * len(life.world.invoices), "more than the cents that invoices are rounded to"
    await shop.books_are_right()
    now = shop.clock.now_ms() + 1000
    found = await reconcile(shop.db, shop.stripe, meter_event_name=EVENT_NAME, since=0, now=now)
    assert found == []
