"""Prepaid: paid once, credited once, reversed as far as it was, whatever order the events come in."""

import asyncio
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from billing.stripe_client import API_VERSION, CardDeclined, StripeRefused, StripeUnavailable
from billing.stripe_events import HANDLED_TYPES, purge
from gateway.billing.stripe_forms import CheckoutForm
from gateway.errors import ApiError, BadRequest
from tests.billing.stripe_double import StripeDouble
from tests.billing.stripe_shop import ORG, USD, Shop, double, shop

__all__ = ["double", "shop"]


async def test_a_top_up_is_credited_when_it_is_paid(shop: Shop) -> None:
    session = await shop.checkout("25.00")
    assert (await shop.balance()).available == 0
    shop.double.world.pay(session)
    await shop.hear()
    assert (await shop.balance()).available == 25 * USD
    assert await shop.steps("top_up") == 1
    await shop.books_are_right()
    (customer,) = shop.double.world.customers.values()
    assert customer["metadata"] == {"organization_id": ORG}


async def test_repeated_reordered_and_concurrent_events_credit_once(shop: Shop) -> None:
    shop.double.world.pay(await shop.checkout("25.00"))
    world_events = list(shop.double.world.events)
    assert {each["type"] for each in world_events} == {
        "payment_intent.succeeded",
        "checkout.session.completed",
    }
    deliveries = [*world_events, *reversed(world_events)] * 4
    await asyncio.gather(*[shop.tell(event) for event in deliveries])
    assert (await shop.balance()).available == 25 * USD
    assert await shop.steps("top_up") == 1
    await shop.books_are_right()


async def test_money_that_takes_days_is_credited_when_it_arrives(shop: Shop) -> None:
    session = await shop.checkout("10.00")
    shop.double.world.pay(session, later=True)
    await shop.hear()
    assert (await shop.balance()).available == 0
    shop.double.world.arrive(session)
    await shop.hear()
    assert (await shop.balance()).available == 10 * USD


@pytest.mark.parametrize("lost", ["payment_intent.succeeded", "checkout.session.completed"])
async def test_either_event_is_enough(shop: Shop, lost: str) -> None:
    shop.double.world.pay(await shop.checkout("10.00"))
    await shop.hear(*[each for each in shop.double.world.events if each["type"] != lost])
    assert (await shop.balance()).available == 10 * USD


async def test_two_refunds_in_every_order_and_twice(shop: Shop) -> None:
    """The payment, two partial refunds, each told of by two events: every order comes to the same."""
    for order in list(itertools.permutations(range(5)))[7::17]:
        before = await shop.balance()
        session = await shop.checkout("20.00")
        world = shop.double.world
        start = len(world.events)
        intent = world.pay(session)
        world.refund(intent["id"], 500)
        world.refund(intent["id"], 300)
        told = [each for each in world.events[start:] if each["type"] != "payment_intent.succeeded"]
        assert len(told) == 5
        await shop.hear(*[told[n] for n in order], *told)
        assert (await shop.balance()).available - before.available == 12 * USD
    await shop.books_are_right()


async def test_a_refund_told_of_only_in_sum_is_reversed_once(shop: Shop) -> None:
    intent = await shop.top_up("20.00")
    shop.double.world.refund(intent, 700)
    await shop.hear(shop.event("charge.refunded"))
    assert (await shop.balance()).available == 13 * USD
    await shop.hear(shop.event("refund.created"))
    assert (await shop.balance()).available == 13 * USD
    assert await shop.steps("reverse") == 1


async def test_a_refund_that_fails_is_given_back(shop: Shop) -> None:
    intent = await shop.top_up("20.00")
    refund = shop.double.world.refund(intent, 2000, status="pending")
    await shop.hear()
    assert (await shop.balance()).available == 0
    shop.double.world.set_refund(refund["id"], "failed")
    await shop.hear(shop.event("refund.failed"), shop.event("refund.created"), shop.event("charge.refunded"))
    assert (await shop.balance()).available == 20 * USD
    await shop.books_are_right()


async def test_a_dispute_takes_back_and_a_won_one_gives_back(shop: Shop) -> None:
    intent = await shop.top_up("20.00")
    dispute = shop.double.world.dispute(intent, 2000)
    await shop.hear()
    assert (await shop.balance()).available == 0
    shop.double.world.close_dispute(dispute["id"], "won")
    await shop.hear(shop.event("charge.dispute.closed"))
    assert (await shop.balance()).available == 20 * USD
    await shop.hear()  # everything once more
    assert (await shop.balance()).available == 20 * USD


@pytest.mark.parametrize(("status", "left"), [("won", 20 * USD), ("lost", 0)])
async def test_a_dispute_whose_end_comes_first(shop: Shop, status: str, left: int) -> None:
    intent = await shop.top_up("20.00")
    dispute = shop.double.world.dispute(intent, 2000)
    shop.double.world.close_dispute(dispute["id"], status)
    await shop.hear(shop.event("charge.dispute.closed"), shop.event("charge.dispute.created"))
    assert (await shop.balance()).available == left


async def test_an_inquiry_takes_nothing(shop: Shop) -> None:
    intent = await shop.top_up("20.00")
    shop.double.world.dispute(intent, 2000, status="warning_needs_response")
    await shop.hear()
    assert (await shop.balance()).available == 20 * USD


async def test_a_reversal_beyond_the_balance_is_receivable_and_the_next_payment_pays_it(shop: Shop) -> None:
    intent = await shop.top_up("20.00")
    await shop.spend_down(5 * USD)
    shop.double.world.dispute(intent, 2000)
    await shop.hear()
    owing = await shop.balance()
    assert (owing.available, owing.receivable, owing.suspended) == (0, 15 * USD, "receivable")
    await shop.top_up("25.00")
    paid = await shop.balance()
    assert (paid.available, paid.receivable, paid.suspended) == (10 * USD, 0, None)


@pytest.mark.parametrize("kind", ["body", "secret", "old", "ahead", "missing", "nonsense", "no v1"])
async def test_what_stripe_did_not_sign_is_refused(shop: Shop, kind: str) -> None:
    shop.double.world.pay(await shop.checkout())
    event = shop.event("checkout.session.completed")
    body, header = shop.double.signed(event)
    forged: dict[str, tuple[bytes, str | None]] = {
        "body": (body.replace(b"2500", b"9900"), header),
        "secret": shop.double.signed(event, secret="whsec_other"),
        "old": shop.double.signed(event, age=400),
        "ahead": shop.double.signed(event, age=-400),
        "missing": (body, None),
        "nonsense": (body, "t=soon,v1"),
        "no v1": (body, header.replace("v1=", "v0=")),
    }
    with pytest.raises(BadRequest) as refused:
        await shop.service.receive(*forged[kind])
    assert refused.value.code == "invalid_signature"
    assert (await shop.balance()).available == 0


async def test_an_event_that_fails_is_kept_and_succeeds_when_it_comes_again(shop: Shop) -> None:
    shop.double.world.pay(await shop.checkout())
    event = shop.event("checkout.session.completed")
    event["data"]["object"]["currency"] = "eur"
    with pytest.raises(ApiError) as failed:
        await shop.tell(event)
    assert failed.value.status == 500
    row = await shop.state_of(event)
    assert (row.state, row.tries) == ("failed", 1)
    assert "eur" in row.error
    assert (await shop.balance()).available == 0
    event["data"]["object"]["currency"] = "usd"
    await shop.hear(event)
    assert (await shop.state_of(event)).state == "handled"
    assert (await shop.balance()).available == 25 * USD


async def test_unknown_events_and_those_of_others_are_kept_and_change_nothing(shop: Shop) -> None:
    world = shop.double.world
    unknown = world.emit("radar.early_fraud_warning.created", {"id": "issfr_1", "object": "x"})
    customer = world.create_customer({})["id"]
    foreign = world.add_intent(900, customer, {}, world.save_card(customer))
    world._succeed(foreign)
    world.refund(foreign["id"], 900)
    await shop.hear()
    assert (await shop.state_of(unknown)).state == "ignored"
    assert (await shop.balance()).available == 0
    assert await shop.steps("top_up") == 0


async def test_concurrent_requests_make_one_customer(shop: Shop) -> None:
    found = await asyncio.gather(*[shop.account.customer(ORG) for _ in range(8)])
    assert len(set(found)) == 1
    assert len(shop.double.world.customers) == 1


async def test_a_customer_whose_creation_broke_off_is_made_once(shop: Shop) -> None:
    shop.double.faults.append(("/v1/customers", "lost"))
    assert (await shop.account.customer(ORG)) in shop.double.world.customers
    assert len(shop.double.world.customers) == 1
    assert len(shop.double.posts("/v1/customers")) == 2  # the package itself repeats, under the same key


async def test_a_failure_that_stripe_would_repeat_is_tried_under_a_new_key(shop: Shop) -> None:
    shop.double.faults.append(("/v1/customers", 500))
    with pytest.raises(StripeUnavailable):
        await shop.account.customer(ORG)
    assert await shop.account.customer(ORG) in shop.double.world.customers


async def test_saving_a_card_is_asked_for_and_remembered(shop: Shop) -> None:
    await shop.top_up("10.00")
    assert (await shop.customer()).payment_method_id is None
    intent = await shop.top_up("10.00", save_card=True)
    assert (await shop.customer()).payment_method_id == shop.double.world.intents[intent]["payment_method"]


async def test_portal_invoices_and_receipts(shop: Shop) -> None:
    from gateway.billing.stripe_forms import PortalForm

    assert (await shop.service.invoices(ORG, 10, None)).data == []
    await shop.top_up("10.00")
    portal = await shop.service.portal(ORG, PortalForm(return_url="https://shop.example/back"))
    assert portal["url"].startswith("https://billing.stripe.example/")
    assert shop.double.world.portals[0]["return_url"] == "https://shop.example/back"
    (receipt,) = (await shop.service.receipts(ORG, 10, None)).data
    assert (receipt["amount_usd"], receipt["status"]) == ("10.00", "succeeded")
    assert receipt["receipt_url"].startswith("https://")


@pytest.mark.parametrize("amount", ["0.49", "25.001", "1000000.00", "-5", "NaN", "much", "1e999999", 25])
def test_amounts_that_cannot_be_paid(amount: Any) -> None:
    with pytest.raises(ValueError, match="amount_usd"):
        CheckoutForm(amount_usd=amount)


async def test_the_double_refuses_what_stripe_refuses(shop: Shop, double: StripeDouble) -> None:
    customer = await shop.account.customer(ORG)
    wrong: Any = {"customer": customer, "mode": "payment", "sucess_url": "https://x"}
    with pytest.raises(StripeRefused, match="unknown parameter: sucess_url"):
        await shop.stripe.create_checkout(wrong, "k1")
    with pytest.raises(StripeRefused, match="line_items"):
        await shop.stripe.create_checkout({"customer": customer, "mode": "payment"}, "k2")
    with pytest.raises(StripeRefused, match="same parameters"):
        await shop.stripe.create_customer({"name": "x"}, "k2")
    with pytest.raises(StripeRefused, match="Missing required param: amount"):
        await shop.stripe.create_payment({"currency": "usd"}, "k3")  # type: ignore[typeddict-item]
    declining = double.world.save_card(customer, declines=True)
    with pytest.raises(CardDeclined) as declined:
        await shop.stripe.create_payment(
            {"amount": 500, "currency": "usd", "customer": customer, "payment_method": declining}, "k4"
        )
    assert declined.value.code == "insufficient_funds"
    assert declined.value.payment_intent in double.world.intents


def test_the_pinned_version_is_the_one_that_the_package_s_types_describe() -> None:
    from stripe._api_version import _ApiVersion

    assert _ApiVersion.CURRENT == API_VERSION


def test_the_page_names_every_event_to_subscribe_to() -> None:
    page = (Path(__file__).parents[2] / "docs" / "stripe.md").read_text()
    named = set(re.findall(r"^ {3}([a-z_.]+(?: +[a-z_.]+)*)$", page, re.MULTILINE))
    assert {word for line in named for word in line.split()} == set(HANDLED_TYPES)


async def test_handled_events_go_after_their_time_and_failed_ones_stay(shop: Shop) -> None:
    await shop.top_up("10.00")
    broken: dict[str, Any] = shop.double.world.emit(
        "refund.created", {"id": "re_1", "payment_intent": "pi_1"}
    )
    with pytest.raises(ApiError):
        await shop.tell(broken)
    later = shop.clock.now_ms() + 1000
    assert await shop.db.write(lambda conn: purge(conn, later - 10_000_000)) == 0
    assert await shop.db.write(lambda conn: purge(conn, later)) == 2
    assert (await shop.state_of(broken)).state == "failed"
    await shop.hear(*[each for each in shop.double.world.events if each is not broken])
    assert (await shop.balance()).available == 10 * USD  # known to be credited all the same
