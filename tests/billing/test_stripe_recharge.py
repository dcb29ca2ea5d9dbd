"""Automatic recharge: the saved card is charged once, whatever breaks in between."""

import asyncio
from typing import Any

import pytest

from billing import stripe_customers as customers
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


def charges(shop: Shop) -> list[int]:
    return [each["amount"] for each in shop.double.world.charges.values()]


async def test_credit_below_the_threshold_is_filled_up_once(shop: Shop) -> None:
    await ready(shop)
    assert await shop.recharges().once()
    assert not await shop.recharges().once()
    assert (await shop.balance()).available == 20 * USD
    assert charges(shop) == [2000]
    (call,) = shop.double.posts(INTENTS)
    (row,) = await shop.recharge_rows()
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
    (row,) = await shop.recharge_rows()
    assert (row.state, row.tries) == ("open", 1)
    assert not await shop.recharges().once()  # not before its time
    await shop.recharges_due_now()
    await shop.recharges().once()
    assert charges(shop) == [2000]
    assert (await shop.balance()).available == 20 * USD


@pytest.mark.parametrize("fault", ["unreached", 500, 429])
async def test_a_failure_on_the_way_is_tried_again(shop: Shop, fault: Any) -> None:
    await ready(shop)
    shop.double.faults.append((INTENTS, fault))
    await shop.recharges().once()
    assert charges(shop) == []
    await shop.recharges_due_now()
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
    await shop.recharges_due_now()
    await shop.recharges().once()
    assert charges(shop) == [2000]
    assert (await shop.balance()).available == 20 * USD


async def test_the_webhook_alone_closes_a_recharge(shop: Shop) -> None:
    await ready(shop)
    shop.double.faults.append((INTENTS, "lost"))
    await shop.recharges().once()
    await shop.hear(shop.event("payment_intent.succeeded"))
    (row,) = await shop.recharge_rows()
    assert (row.state, row.due) == ("succeeded", None)
    assert (await shop.customer()).recharge_id is None
    assert (await shop.balance()).available == 20 * USD


async def test_a_declined_card_waits_longer_each_time_and_is_given_up(shop: Shop) -> None:
    await ready(shop, declines=True)
    waits = []
    for _ in range(customers.MAX_FAILURES):
        await shop.recharges_due_now()
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


async def test_the_card_chosen_last_is_charged_whatever_order_the_choices_come_in(shop: Shop) -> None:
    await ready(shop)
    world, customer = shop.double.world, str((await shop.customer()).customer_id)
    told = []
    for _ in range(3):
        chosen = {"default_payment_method": world.save_card(customer)}
        told.append(world.emit("customer.updated", {**world.customers[customer], "invoice_settings": chosen}))
        world.offset += 1
    first, second, last = told
    renamed = {**first, "id": world.new_id("evt"), "created": last["created"] + 1}
    renamed["data"] = {**first["data"], "previous_attributes": {"name": "before"}}
    await shop.hear(second, last, first, renamed)
    await shop.recharges().once()
    (call,) = shop.double.posts(INTENTS)
    assert (
        call.fields["payment_method"] == last["data"]["object"]["invoice_settings"]["default_payment_method"]
    )


async def test_an_amount_is_needed(shop: Shop) -> None:
    shop.double.world.save_card(await shop.account.customer(ORG))
    with pytest.raises(BadRequest) as refused:
        await shop.service.set_recharge(ORG, RechargeForm(threshold_usd="5.00"))
    assert refused.value.param == "amount_usd"
    off = await shop.service.set_recharge(ORG, RechargeForm(enabled=False))
    assert off["enabled"] is False
