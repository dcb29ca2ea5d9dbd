"""Automatic recharge: the saved card is charged once, whatever breaks in between."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from billing import stripe_customers as customers
from billing.stripe_tables import customers as customers_table
from billing.stripe_tables import recharges
from gateway.billing.stripe_forms import RechargeForm
from gateway.errors import BadRequest
from tests.billing.stripe_shop import ORG, USD, Shop, double, shop

__all__ = ["double", "shop"]

INTENTS = "/v1/payment_intents"


async def ready(shop: Shop, *, declines: bool = False) -> None:
    """An organization with a saved card, whose credit is used up."""
    shop.double.world.save_card(await shop.account.customer(ORG), declines=declines)
    form = RechargeForm(threshold_usd="5.00", amount_usd="20.00")
    assert (await shop.service.set_recharge(ORG, form))["enabled"]


async def rows(shop: Shop) -> list[Any]:
    return await shop.db.read(lambda conn: list(conn.execute(select(recharges).order_by(recharges.c.id))))


async def due_now(shop: Shop) -> None:
    def write(conn: Any) -> None:
        conn.execute(update(recharges).where(recharges.c.due.is_not(None)).values(due=0, lease_until=0))
        conn.execute(update(customers_table).values(recharge_due=0))

    await shop.db.write(write)


def charges(shop: Shop) -> list[int]:
    return [each["amount"] for each in shop.double.world.charges.values()]


async def test_credit_below_the_threshold_is_filled_up_once(shop: Shop) -> None:
    await ready(shop)
    assert await shop.recharges().once()
    assert not await shop.recharges().once()
    assert (await shop.balance()).available == 20 * USD
    assert charges(shop) == [2000]
    (call,) = shop.double.posts(INTENTS)
    (row,) = await rows(shop)
    assert call.key == f"{row.id}.0"
    assert row.state == "succeeded"
    await shop.hear()  # the webhook tells of the same payment
    assert (await shop.balance()).available == 20 * USD
    await shop.books_are_right()


async def test_many_at_once_charge_once(shop: Shop) -> None:
    await ready(shop)
    await asyncio.gather(*[shop.recharges().once() for _ in range(8)])
    assert charges(shop) == [2000]
    assert (await shop.balance()).available == 20 * USD


async def test_a_lost_answer_is_found_again_and_charged_once(shop: Shop) -> None:
    await ready(shop)
    shop.double.faults.append((INTENTS, "lost"))
    await shop.recharges().once()
    (row,) = await rows(shop)
    assert (row.state, row.tries) == ("open", 1)
    assert not await shop.recharges().once()  # not before its time
    await due_now(shop)
    await shop.recharges().once()
    assert charges(shop) == [2000]
    assert (await shop.balance()).available == 20 * USD


@pytest.mark.parametrize("fault", ["unreached", 500, 429])
async def test_a_failure_on_the_way_is_tried_again(shop: Shop, fault: Any) -> None:
    await ready(shop)
    shop.double.faults.append((INTENTS, fault))
    await shop.recharges().once()
    assert charges(shop) == []
    await due_now(shop)
    await shop.recharges().once()
    assert charges(shop) == [2000]
    assert (await shop.balance()).available == 20 * USD


async def test_a_crash_after_the_charge_is_taken_over(shop: Shop) -> None:
    await ready(shop)
    dying = shop.recharges()
    now = shop.clock.now_ms()
    await shop.db.write(lambda conn: customers.open_recharge(conn, "rch_1", now))
    item = await shop.db.write(lambda conn: customers.claim_recharge(conn, now, 60_000))
    assert item is not None
    await dying._charge(item)  # the process ends here
    assert not await shop.recharges().once()  # its lease holds
    await due_now(shop)
    await shop.recharges().once()
    assert charges(shop) == [2000]
    assert (await shop.balance()).available == 20 * USD


async def test_the_webhook_alone_closes_a_recharge(shop: Shop) -> None:
    await ready(shop)
    shop.double.faults.append((INTENTS, "lost"))
    await shop.recharges().once()
    await shop.hear(shop.event("payment_intent.succeeded"))
    (row,) = await rows(shop)
    assert (row.state, row.due) == ("succeeded", None)
    assert (await shop.customer()).recharge_id is None
    assert (await shop.balance()).available == 20 * USD


async def test_a_declined_card_waits_longer_each_time_and_is_given_up(shop: Shop) -> None:
    await ready(shop, declines=True)
    waits = []
    for _ in range(customers.MAX_FAILURES):
        await due_now(shop)
        assert await shop.recharges().once()
        row = await shop.customer()
        waits.append((row.recharge_due - shop.clock.now_ms()) // 3_600_000)
        assert not await shop.recharges().once()
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]
    shown = await shop.service.recharge(ORG)
    assert (shown["enabled"], shown["failures"]) == (False, customers.MAX_FAILURES)
    assert "declined" in shown["last_error"]
    assert len(shop.double.posts(INTENTS)) == customers.MAX_FAILURES
    assert len({call.key for call in shop.double.posts(INTENTS)}) == customers.MAX_FAILURES
    assert (await shop.balance()).available == 0
    again = await shop.service.set_recharge(ORG, RechargeForm())
    assert (again["enabled"], again["failures"], again["last_error"]) == (True, 0, None)


async def test_a_suspended_organization_is_not_charged(shop: Shop) -> None:
    from billing.ledger_moves import suspend

    await ready(shop)
    await shop.db.write(lambda conn: suspend(conn, ORG, "receivable"))
    assert not await shop.recharges().once()
    assert charges(shop) == []


async def test_enough_credit_is_left_alone(shop: Shop) -> None:
    await shop.top_up("5.00")
    await ready(shop)
    assert not await shop.recharges().once()
    await shop.spend_down(5 * USD - 1)
    assert await shop.recharges().once()


async def test_without_a_card_there_is_no_recharge(shop: Shop) -> None:
    with pytest.raises(BadRequest) as refused:
        await shop.service.set_recharge(ORG, RechargeForm(threshold_usd="5.00", amount_usd="20.00"))
    assert refused.value.code == "no_saved_card"
    await ready(shop)
    (card,) = shop.double.world.cards.values()
    shop.double.world.emit("payment_method.detached", card)
    await shop.hear()
    shown = await shop.service.recharge(ORG)
    assert (shown["enabled"], shown["saved_card"]) == (False, False)
    assert not await shop.recharges().once()


async def test_an_amount_is_needed(shop: Shop) -> None:
    shop.double.world.save_card(await shop.account.customer(ORG))
    with pytest.raises(BadRequest) as refused:
        await shop.service.set_recharge(ORG, RechargeForm(threshold_usd="5.00"))
    assert refused.value.param == "amount_usd"
    off = await shop.service.set_recharge(ORG, RechargeForm(enabled=False))
    assert off["enabled"] is False
