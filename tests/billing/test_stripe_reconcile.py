"""`onereel billing reconcile`: silent where ledger and Stripe agree, loud about each way in which they may not."""

from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from billing.ledger import Capture, Hold, capture_many, hold_many
from billing.ledger_moves import top_up
from billing.lots import grant_credit
from billing.meters import Usage, cancel_usage, enqueue_usage
from billing.stripe_reconcile import Difference
from billing.stripe_tables import customers, meter_events
from billing.tables import entries
from gateway.billing.reconcile import reconcile
from gateway.errors import ApiError
from tests.billing.stripe_double import EVENT_NAME
from tests.billing.stripe_shop import ORG, USD, Shop, double, shop

__all__ = ["double", "shop"]

DAY = 24 * 3_600_000


async def differences(shop: Shop) -> list[Difference]:
    now = shop.clock.now_ms() + 2000
    since = now - now % DAY - 30 * DAY
    return await reconcile(shop.db, shop.stripe, meter_event_name=EVENT_NAME, since=since, now=now)


async def found(shop: Shop) -> list[tuple[str, str, int | None, int | None]]:
    return [
        (each.kind, each.object_id, each.stripe_micros, each.ledger_micros)
        for each in await differences(shop)
    ]


async def captured(shop: Shop, video: str, micros: int, days_ago: int = 2) -> str:
    """Postpaid usage of an earlier day."""
    then = shop.clock.now_ms() - days_ago * DAY

    def write(conn: Connection) -> None:
        hold = Hold(video, ORG, micros, then)
        hold_many(conn, [hold])
        paid: dict[str, int] = {}
        capture_many(conn, [Capture(hold, micros)], then, paid)
        enqueue_usage(conn, [Usage(f"led_capture_0_{video}", ORG, paid[video], then)], then)

    await shop.db.write(write)
    return f"led_capture_0_{video}"


async def sent_then(shop: Shop) -> None:
    """Send what is due, as if that had happened on the day of its capture."""
    while await shop.meter_outbox().once():
        pass

    def date_back(conn: Connection) -> None:
        for row in conn.execute(select(entries).where(entries.c.id.in_(list(shop.double.world.usage)))).all():
            shop.double.world.usage[row.id]["timestamp"] = row.created_at // 1000
            of_entry = update(meter_events).where(meter_events.c.id == row.id)
            conn.execute(of_entry.values(occurred_at=row.created_at))

    await shop.db.write(date_back)


async def subscribed(shop: Shop) -> str:
    subscription = await shop.subscribe()
    long_ago = shop.clock.now_ms() - 20 * DAY
    await shop.db.write(lambda conn: conn.execute(update(customers).values(metered_since=long_ago)))
    return subscription


async def test_nothing_is_found_where_everything_was_heard(shop: Shop) -> None:
    first = await shop.top_up("25.00")
    second = await shop.top_up("10.00")
    world = shop.double.world
    world.refund(first, 500)
    failed = world.refund(first, 300, status="pending")
    world.set_refund(failed["id"], "failed")
    world.dispute(second, 1000)
    world.add_intent(900, world.create_customer({})["id"], {}, "pm_other")  # another business of the account
    subscription = await subscribed(shop)
    for n, days_ago in enumerate((1, 2, 2, 5)):
        await captured(shop, f"video_{n}", 300_000 + n, days_ago)
    reversed_entry = await captured(shop, "video_reversed", 999)
    await sent_then(shop)
    now = shop.clock.now_ms()
    await shop.db.write(lambda conn: cancel_usage(conn, reversed_entry, now))
    await shop.meter_outbox().once()
    invoice = world.invoice(subscription, 120)
    world.invoice_fails(invoice["id"])
    world.invoice_paid(invoice["id"])
    await shop.hear()
    assert await found(shop) == []


async def test_a_payment_that_was_never_credited(shop: Shop) -> None:
    intent = shop.double.world.pay(await shop.checkout("25.00"))
    assert await found(shop) == [("payment", intent["id"], 25 * USD, None)]


async def test_a_credit_without_a_payment(shop: Shop) -> None:
    now = shop.clock.now_ms()

    def write(conn: Connection) -> None:
        top_up(conn, subject="pi_made_up", organization_id=ORG, amount_micros=7, memo="x", now=now)

    await shop.db.write(write)
    assert await found(shop) == [("payment", "pi_made_up", None, 7)]


async def test_another_amount(shop: Shop) -> None:
    intent = await shop.top_up("25.00")
    shop.double.world.intents[intent]["amount_received"] = 2600
    assert await found(shop) == [("payment", intent, 26 * USD, 25 * USD)]


async def test_a_paid_checkout_whose_payment_is_not_listed(shop: Shop) -> None:
    session = await shop.checkout("25.00")
    intent = shop.double.world.pay(session)
    del shop.double.world.intents[intent["id"]]
    assert await found(shop) == [("checkout", session, 25 * USD, None)]


@pytest.mark.parametrize("what", ["refund", "dispute"])
async def test_money_that_went_back_unheard(shop: Shop, what: str) -> None:
    intent = await shop.top_up("25.00")
    getattr(shop.double.world, what)(intent, 700)
    assert await found(shop) == [("refund", intent, 7 * USD, 0)]
    await shop.hear()
    assert await found(shop) == []


async def test_a_reversal_that_stripe_knows_nothing_of(shop: Shop) -> None:
    intent = await shop.top_up("25.00")
    refund = shop.double.world.refund(intent, 700)
    await shop.hear()
    del shop.double.world.refunds[refund["id"]]
    assert await found(shop) == [("refund", intent, 0, 7 * USD)]


async def test_a_paid_invoice_that_was_never_credited(shop: Shop) -> None:
    subscription = await shop.subscribe()
    invoice = shop.double.world.invoice(subscription, 4000)
    shop.double.world.invoice_paid(invoice["id"])
    assert await found(shop) == [("invoice", invoice["id"], 40 * USD, None)]
    await shop.hear()
    assert await found(shop) == []
    invoice["status"] = "open"
    assert await found(shop) == [("invoice", invoice["id"], None, 40 * USD)]


async def test_usage_that_stripe_lost_or_made_up(shop: Shop) -> None:
    await subscribed(shop)
    await captured(shop, "video_a", 400_000, days_ago=2)
    kept = await captured(shop, "video_b", 500_000, days_ago=3)
    await sent_then(shop)
    assert await found(shop) == []
    usage = shop.double.world.usage
    del usage["led_capture_0_video_a"]
    usage["made up"] = {**usage[kept], "payload": {**usage[kept]["payload"], "value": "1"}}
    customer = (await shop.customer()).customer_id
    kinds = await found(shop)
    assert [(kind, *amounts) for kind, _, *amounts in kinds] == [
        ("usage", 500_001, 500_000),
        ("usage", 0, 400_000),
    ]
    assert all(object_id.startswith(f"{customer}:20") for _, object_id, *_ in kinds)


async def test_usage_that_was_given_up_or_waits(shop: Shop) -> None:
    await subscribed(shop)
    dead = await captured(shop, "video_a", 400_000, days_ago=2)
    waits = await captured(shop, "video_b", 500_000, days_ago=2)

    def write(conn: Connection) -> None:
        given_up = update(meter_events).where(meter_events.c.id == dead)
        conn.execute(given_up.values(state="dead", due=None, last_error="older than the 35 days"))

    await shop.db.write(write)
    told = {each.object_id: each for each in await differences(shop)}
    assert told[dead].detail == "usage not sent (dead): older than the 35 days"
    assert told[waits].detail == "usage not sent (pending): it waits"
    assert len(told) == 3  # and the sum of the day


async def test_usage_without_a_meter(shop: Shop) -> None:
    await subscribed(shop)
    shop.double.world.meters.clear()
    (only,) = await differences(shop)
    assert only.detail == "no active meter takes events named onereel_usage"


async def test_an_event_that_failed(shop: Shop) -> None:
    await shop.top_up("25.00")
    broken: dict[str, Any] = shop.double.world.emit("charge.refunded", {"payment_intent": "pi_1", "id": "ch"})
    with pytest.raises(ApiError):
        await shop.tell(broken)
    (only,) = await differences(shop)
    assert (only.kind, only.object_id) == ("event", broken["id"])
    assert "KeyError" in only.detail


async def test_debt_that_nothing_bills(shop: Shop) -> None:
    await shop.terms("postpaid", 10 * USD)
    await captured(shop, "video_a", 400_000)
    (only,) = await differences(shop)
    assert (only.kind, only.organization_id, only.ledger_micros) == ("subscription", ORG, 400_000)
    assert only.detail == "owes for usage, but has no subscription that would bill it"
    subscription = await subscribed(shop)
    await shop.meter_outbox().once()
    assert await found(shop) == []
    shop.double.world.set_subscription(subscription, "canceled")
    await shop.hear()
    (only,) = await differences(shop)
    assert (only.ledger_micros, only.detail) == (400_000, "owes for usage, but its subscription has ended")


async def test_debt_that_was_never_noted(shop: Shop) -> None:
    await subscribed(shop)
    entry = await captured(shop, "video_a", 4 * USD)
    await captured(shop, "video_b", 5 * USD)
    await shop.db.write(lambda conn: conn.execute(delete(meter_events).where(meter_events.c.id == entry)))
    await sent_then(shop)
    assert await found(shop) == [("subscription", ORG, 5 * USD, 9 * USD)]


async def test_usage_that_promotional_credit_covered_in_part(shop: Shop) -> None:
    """Stripe bills the rest, and that is what the ledger's side of the day says."""
    await subscribed(shop)
    now = shop.clock.now_ms()

    def give(conn: Connection) -> None:
        grant_credit(
            conn,
            subject="act_1",
            organization_id=ORG,
            amount_micros=150_000,
            expires_at=now + DAY,
            memo="gift",
            now=now - 3 * DAY,
        )

    await shop.db.write(give)
    for n, micros in enumerate((100_000, 400_000)):
        await captured(shop, f"video_{n}", micros)
    await sent_then(shop)
    assert [each["payload"]["value"] for each in shop.double.world.usage.values()] == ["350000"]
    assert await found(shop) == []


async def test_long_lists_are_read_to_their_end(shop: Shop) -> None:
    customer = await shop.account.customer(ORG)
    metadata = {"onereel": "top_up", "organization_id": ORG}
    for _ in range(230):
        intent = shop.double.world.add_intent(100, customer, metadata, "pm_1")
        intent |= {"status": "succeeded", "amount_received": 100}
    assert len(await found(shop)) == 230
