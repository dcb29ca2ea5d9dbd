"""Postpaid: suspended while something is unpaid, restored when it is paid, whatever order the events come in."""

import itertools

import pytest
from sqlalchemy import update

from billing.ledger_moves import suspend
from billing.tables import balances
from gateway.errors import BadRequest, Unavailable
from tests.billing.stripe_shop import ORG, USD, Shop, double, shop

__all__ = ["double", "shop"]


async def owing(shop: Shop, micros: int) -> None:
    await shop.db.write(lambda conn: conn.execute(update(balances).values(available=-micros)))


async def test_a_subscription_starts_once(shop: Shop) -> None:
    first = await shop.subscribe()
    assert (await shop.service.subscribe(ORG))["id"] == first
    assert list(shop.double.world.subscriptions) == [first]
    row = await shop.customer()
    assert (row.subscription_id, row.subscription_status) == (first, "active")
    assert row.metered_since is not None


async def test_a_subscription_whose_answer_was_lost_is_found(shop: Shop) -> None:
    shop.double.faults += [("/v1/subscriptions", "lost")] * 3  # the package gives up after three
    customer = await shop.account.customer(ORG)
    shop.double.world.save_card(customer)
    await shop.terms("postpaid", USD)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await shop.service.subscribe(ORG)
    found = await shop.service.subscribe(ORG)
    assert list(shop.double.world.subscriptions) == [found["id"]]


async def test_who_may_not_subscribe(shop: Shop) -> None:
    with pytest.raises(BadRequest) as refused:
        await shop.service.subscribe(ORG)
    assert refused.value.code == "not_postpaid"
    await shop.terms("postpaid", USD)
    with pytest.raises(BadRequest) as refused:
        await shop.service.subscribe(ORG)
    assert refused.value.code == "no_saved_card"


async def test_a_paid_invoice_brings_the_balance_back_once(shop: Shop) -> None:
    subscription = await shop.subscribe()
    await owing(shop, 40 * USD)
    invoice = shop.double.world.invoice(subscription, 4000)
    shop.double.world.invoice_paid(invoice["id"])
    await shop.hear()
    await shop.hear()
    assert (await shop.balance()).available == 0
    assert await shop.steps("top_up") == 1


async def test_an_invoice_of_no_subscription_credits_nothing(shop: Shop) -> None:
    subscription = await shop.subscribe()
    invoice = shop.double.world.invoice(subscription, 4000)
    invoice["parent"] = None
    shop.double.world.invoice_paid(invoice["id"])
    await shop.hear()
    assert await shop.steps("top_up") == 0


async def test_a_failed_invoice_suspends_and_a_paid_one_restores(shop: Shop) -> None:
    subscription = await shop.subscribe()
    await owing(shop, 40 * USD)
    invoice = shop.double.world.invoice(subscription, 4000)
    shop.double.world.invoice_fails(invoice["id"])
    await shop.hear()
    assert (await shop.balance()).suspended == "payment_failed"
    shop.double.world.invoice_paid(invoice["id"])
    await shop.hear(shop.event("invoice.paid"))
    assert (await shop.balance()).suspended is None


async def test_every_order_of_a_failure_and_its_payment_ends_restored(shop: Shop) -> None:
    """Failed, past due, failed again, paid, active: 120 orders, and whatever is lost of the subscription's own."""
    subscription = await shop.subscribe()
    world = shop.double.world
    for n, order in enumerate(list(itertools.permutations(range(5)))[3::13]):
        await owing(shop, 40 * USD)
        invoice = world.invoice(subscription, 4000)
        start = len(world.events)
        world.invoice_fails(invoice["id"])
        world.set_subscription(subscription, "past_due")
        world.offset += 1
        world.invoice_fails(invoice["id"])
        world.offset += 1
        world.invoice_paid(invoice["id"])
        world.set_subscription(subscription, "active")
        told = world.events[start:]
        await shop.hear(*[told[m] for m in order if n % 2 or m != 4])
        assert (await shop.balance()).suspended is None, order
        assert (await shop.balance()).available == 0
        world.offset += 1


async def test_one_paid_invoice_does_not_excuse_another(shop: Shop) -> None:
    subscription = await shop.subscribe()
    await owing(shop, 90 * USD)
    world = shop.double.world
    first, second = world.invoice(subscription, 4000), world.invoice(subscription, 5000)
    world.invoice_fails(first["id"])
    world.invoice_fails(second["id"])
    world.set_subscription(subscription, "past_due")
    world.offset += 5
    world.invoice_paid(first["id"])
    await shop.hear()
    assert (await shop.balance()).suspended == "payment_failed"
    world.offset += 5
    world.invoice_paid(second["id"])
    await shop.hear(shop.event("invoice.paid"))
    assert (await shop.balance()).suspended is None


@pytest.mark.parametrize("status", ["past_due", "unpaid", "canceled"])
async def test_the_state_of_the_subscription_suspends(shop: Shop, status: str) -> None:
    subscription = await shop.subscribe()
    shop.double.world.offset += 5
    shop.double.world.set_subscription(subscription, status)
    await shop.hear()
    assert (await shop.balance()).suspended == "payment_failed"


async def test_an_older_state_of_the_subscription_changes_nothing(shop: Shop) -> None:
    subscription = await shop.subscribe()
    world = shop.double.world
    world.set_subscription(subscription, "past_due")
    world.offset += 5
    world.set_subscription(subscription, "active")
    await shop.hear(*reversed(world.events))
    assert (await shop.balance()).suspended is None


async def test_the_subscription_of_a_prepaid_organization_suspends_nobody(shop: Shop) -> None:
    subscription = await shop.subscribe()
    await shop.terms("prepaid", 0)
    shop.double.world.set_subscription(subscription, "canceled")
    await shop.hear()
    assert (await shop.balance()).suspended is None


async def test_a_suspension_for_another_reason_stays(shop: Shop) -> None:
    subscription = await shop.subscribe()
    await owing(shop, 40 * USD)
    await shop.db.write(lambda conn: suspend(conn, ORG, "operator"))
    invoice = shop.double.world.invoice(subscription, 4000)
    shop.double.world.invoice_fails(invoice["id"])
    shop.double.world.invoice_paid(invoice["id"])
    await shop.hear()
    assert (await shop.balance()).suspended == "operator"


async def test_invoices_are_listed_with_their_documents(shop: Shop) -> None:
    subscription = await shop.subscribe()
    made = [shop.double.world.invoice(subscription, 100 * n)["id"] for n in range(1, 4)]
    page = await shop.service.invoices(ORG, 2, None)
    assert [each["id"] for each in page.data] == [made[2], made[1]]
    assert page.has_more
    rest = await shop.service.invoices(ORG, 2, made[1])
    assert [each["id"] for each in rest.data] == [made[0]]
    assert not rest.has_more
    assert rest.data[0]["total_usd"] == "1.00"
    assert rest.data[0]["hosted_invoice_url"].startswith("https://")


async def test_a_new_subscription_ends_the_suspension_for_the_old_one(shop: Shop) -> None:
    old = await shop.subscribe()
    shop.double.world.offset += 5
    shop.double.world.set_subscription(old, "canceled")
    await shop.hear()
    assert (await shop.balance()).suspended == "payment_failed"
    new = await shop.service.subscribe(ORG)
    assert new["id"] != old
    assert (await shop.balance()).suspended is None
    shop.double.world.set_subscription(old, "unpaid")  # of no interest any more
    await shop.hear()
    assert (await shop.balance()).suspended is None


async def test_an_unpaid_invoice_is_not_forgotten_when_a_debt_is_paid(shop: Shop) -> None:
    """Two reasons to be suspended, of which the balance names one: paying for one leaves the other."""
    subscription = await shop.subscribe()
    intent = await shop.top_up("20.00")
    await shop.spend_down(0)
    shop.double.world.dispute(intent, 2000)
    invoice = shop.double.world.invoice(subscription, 4000)
    shop.double.world.invoice_fails(invoice["id"])
    await shop.hear()
    assert (await shop.balance()).suspended == "receivable"
    await shop.top_up("20.00")
    paid = await shop.balance()
    assert (paid.receivable, paid.suspended) == (0, "payment_failed")
