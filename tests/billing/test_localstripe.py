"""A second opinion on Stripe: our services against localstripe, which somebody else wrote.

It knows customers, cards, payment intents, refunds, invoices and subscriptions, and keeps no idempotency keys; for
Checkout, meters, the portal and what a repeated key gets there is our own double.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection
from stripe import WebhookSignature

from billing.ledger import open_balance
from billing.stripe_client import Stripe, StripeRefused
from gateway.billing.stripe import StripeService
from gateway.billing.stripe_account import Account
from gateway.billing.stripe_forms import RechargeForm
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.settings import StripeAccount
from tests.billing.localstripe_bridge import API_KEY, HEARD_AT, SECRET, Json, Localstripe, localstripe
from tests.billing.stripe_shop import ORG, USD, Payer
from tests.gateway.live import live, settings_for

INTENTS = "/v1/payment_intents"
DECLINED = "4000000000000341"  # may be saved, not charged
ASKS = "4000002500003155"  # asks its owner each time


@pytest.fixture
def local() -> Iterator[Localstripe]:
    with localstripe() as running:
        yield running


@pytest.fixture
async def payer(db: Database, clock: Clock, local: Localstripe) -> AsyncIterator[Payer]:
    def write(conn: Connection) -> None:
        open_balance(conn, ORG, "prepaid")

    await db.write(write)
    settings = StripeAccount(
        api_key=API_KEY, webhook_secret=SECRET, api_base=local.base_url, meter_price=plan(local)
    )
    account = Account(db, clock, settings)
    yield Payer(db, clock, account, StripeService(db, clock, account))
    await account.close()


def plan(local: Localstripe, cents: int = 0) -> str:
    made = local.ask(
        "POST",
        "/v1/plans",
        amount=cents,
        currency="usd",
        interval="month",
        usage_type="metered",
        **{"product[name]": "video"},
    )
    return str(made["id"])


async def with_card(payer: Payer, local: Localstripe, number: str = "4242424242424242") -> str:
    """An organization with a saved card and automatic recharge, whose credit is used up."""
    card = local.save_card(await payer.account.customer(ORG), number)
    form = RechargeForm(threshold_usd="5.00", amount_usd="20.00")
    assert (await payer.service.set_recharge(ORG, form))["enabled"]
    return card


async def heard(payer: Payer, local: Localstripe, kind: str, n: int = 1, times: int = 1) -> None:
    """Wait for `n` of localstripe's own webhooks and take them in, the last one first, `times` times over."""

    async def told() -> bool:
        return len(local.events(kind)) == n

    await payer.eventually(told)
    for body, signature in local.events(kind)[::-1] * times:
        assert await payer.service.receive(body, signature) == {"received": True}


async def tell(payer: Payer, kind: str, subject: Json) -> None:
    """Tell of one of its objects by an event that it has not."""
    event = {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "data": {"object": subject},
    }
    body = json.dumps(event)
    header = WebhookSignature.generate_signature_header(body, SECRET)
    assert await payer.service.receive(body.encode(), header) == {"received": True}


async def recharged(payer: Payer, local: Localstripe) -> Json:
    """A recharge that went through; answers its payment intent."""
    await with_card(payer, local)
    assert await payer.recharges().once()
    (intent,) = local.listed("payment_intents")
    return intent


async def test_the_customer_is_made_at_the_first_need_and_once(payer: Payer, local: Localstripe) -> None:
    assert (await payer.service.recharge(ORG))["saved_card"] is False
    assert (await payer.service.invoices(ORG, 10, None)).data == []
    assert local.listed("customers") == []
    first = await payer.account.customer(ORG)
    assert await payer.account.customer(ORG) == first
    (customer,) = local.listed("customers")
    assert (customer["id"], customer["name"]) == (first, ORG)
    assert customer["metadata"] == {"organization_id": ORG}


async def test_whoever_asks_at_the_same_time_gets_the_same_customer(payer: Payer, local: Localstripe) -> None:
    """Nothing but our table decides here: localstripe makes as many as it is asked for."""
    found = await asyncio.gather(*[payer.account.customer(ORG) for _ in range(6)])
    assert len(set(found)) == 1
    assert found[0] in {each["id"] for each in local.listed("customers")}
    assert len({call.key for call in local.posts("/v1/customers")}) == 1
    assert await payer.account.customer(ORG) == found[0]


async def test_a_saved_card_is_found(payer: Payer, local: Localstripe) -> None:
    customer = await payer.account.customer(ORG)
    form = RechargeForm(threshold_usd="5.00", amount_usd="20.00")
    with pytest.raises(BadRequest) as refused:
        await payer.service.set_recharge(ORG, form)
    assert refused.value.code == "no_saved_card"
    local.save_card(str(local.ask("POST", "/v1/customers", name="another")["id"]))
    card = local.save_card(customer)
    assert [each["id"] for each in await payer.stripe.cards(customer)] == [card]
    assert (await payer.service.set_recharge(ORG, form))["saved_card"] is True
    assert (await payer.customer()).payment_method_id == card


async def test_a_recharge_is_charged_and_credited_once(payer: Payer, local: Localstripe) -> None:
    local.send_webhooks_to(local.base_url + HEARD_AT)
    intent = await recharged(payer, local)
    assert not await payer.recharges().once()
    assert (intent["status"], intent["amount"], intent["currency"]) == ("succeeded", 2000, "usd")
    (row,) = await payer.recharge_rows()
    assert (row.state, row.payment_intent_id) == ("succeeded", intent["id"])
    assert [call.key for call in local.posts(INTENTS)] == [f"{row.id}.0"]
    await heard(payer, local, "payment_intent.succeeded", times=3)
    assert (await payer.balance()).available == 20 * USD
    assert await payer.steps("top_up") == 1
    (receipt,) = (await payer.service.receipts(ORG, 10, None)).data
    assert (receipt["status"], receipt["amount_usd"]) == ("succeeded", "20.00")
    await payer.books_are_right()


async def test_a_charge_whose_answer_was_lost_is_found_again(payer: Payer, local: Localstripe) -> None:
    """Without idempotency keys on the other side a second request would be a second charge."""
    await with_card(payer, local)
    local.lost.append(INTENTS)
    await payer.recharges().once()
    assert [each.state for each in await payer.recharge_rows()] == ["open"]
    assert (await payer.balance()).available == 0
    await payer.recharges_due_now()
    assert await payer.recharges().once()
    assert len(local.listed("charges")) == 1
    assert (await payer.balance()).available == 20 * USD


async def test_its_webhook_alone_credits_and_ends_a_recharge(payer: Payer, local: Localstripe) -> None:
    local.send_webhooks_to(local.base_url + HEARD_AT)
    await with_card(payer, local)
    local.lost.append(INTENTS)
    await payer.recharges().once()
    await heard(payer, local, "payment_intent.succeeded")
    assert [each.state for each in await payer.recharge_rows()] == ["succeeded"]
    assert not await payer.recharges().once()
    assert (await payer.balance()).available == 20 * USD


async def test_a_declined_card_is_not_credited_and_fails_once(payer: Payer, local: Localstripe) -> None:
    local.send_webhooks_to(local.base_url + HEARD_AT)
    await with_card(payer, local, DECLINED)
    assert await payer.recharges().once()
    await heard(payer, local, "payment_intent.payment_failed", times=2)
    shown = await payer.service.recharge(ORG)
    assert (shown["failures"], shown["in_progress"]) == (1, False)
    assert shown["last_error"] == "Your card was declined. (card_declined)"
    assert (await payer.balance()).available == 0
    assert not await payer.recharges().once()


async def test_a_card_that_asks_its_owner_counts_when_it_was_answered(
    payer: Payer, local: Localstripe
) -> None:
    """The recharge is over without a charge; the owner agrees afterwards, and that money is credited too."""
    local.send_webhooks_to(local.base_url + HEARD_AT)
    await with_card(payer, local, ASKS)
    assert await payer.recharges().once()
    shown = await payer.service.recharge(ORG)
    assert shown["last_error"] == "the card was not charged: requires_action"
    assert (await payer.balance()).available == 0
    (intent,) = local.listed("payment_intents")
    agreed: Any = {"client_secret": intent["client_secret"], "success": "true"}
    local.ask("POST", f"{INTENTS}/{intent['id']}/_authenticate", **agreed)
    await heard(payer, local, "payment_intent.succeeded", times=2)
    assert (await payer.balance()).available == 20 * USD
    await payer.books_are_right()


async def test_refunds_are_reversed_as_far_as_they_went(payer: Payer, local: Localstripe) -> None:
    intent = await recharged(payer, local)
    for cents, left in ((500, 15 * USD), (300, 12 * USD)):
        refund = local.ask("POST", "/v1/refunds", payment_intent=intent["id"], amount=cents)
        (charge,) = local.listed("charges")
        await tell(payer, "charge.refunded", charge)
        await tell(payer, "refund.created", refund)
        assert (await payer.balance()).available == left
    local.ask("POST", "/v1/refunds", payment_intent=intent["id"], amount=1200)
    (charge,) = local.listed("charges")
    await tell(payer, "charge.refunded", charge)  # the refund's own event is lost
    assert ((await payer.balance()).available, charge["refunded"]) == (0, True)
    (receipt,) = (await payer.service.receipts(ORG, 10, None)).data
    assert receipt["refunded_usd"] == "20.00"
    assert await payer.steps("reverse") == 3
    await payer.books_are_right()


async def test_a_subscription_starts_once_and_its_end_suspends(payer: Payer, local: Localstripe) -> None:
    local.send_webhooks_to(local.base_url + HEARD_AT)
    card = local.save_card(await payer.account.customer(ORG))
    await payer.terms("postpaid", 100 * USD)
    first = await payer.service.subscribe(ORG)
    assert first["status"] == "active"
    assert await payer.service.subscribe(ORG) == first
    (subscription,) = local.listed("subscriptions")
    assert (subscription["id"], subscription["metadata"]) == (first["id"], {"organization_id": ORG})
    assert subscription["plan"]["usage_type"] == "metered"
    (call,) = local.posts("/v1/subscriptions")
    assert call.fields["default_payment_method"] == card
    assert (await payer.customer()).metered_since is not None
    local.ask("DELETE", f"/v1/subscriptions/{first['id']}")
    await heard(payer, local, "customer.subscription.deleted")
    assert (await payer.balance()).suspended == "payment_failed"
    again = await payer.service.subscribe(ORG)
    assert again["id"] != first["id"]
    assert (await payer.balance()).suspended is None


async def test_a_failed_invoice_suspends_and_its_payment_restores(payer: Payer, local: Localstripe) -> None:
    local.send_webhooks_to(local.base_url + HEARD_AT)
    customer = await payer.account.customer(ORG)
    chosen = "invoice_settings[default_payment_method]"
    bad = local.save_card(customer, DECLINED)
    local.ask("POST", f"/v1/customers/{customer}", **{chosen: bad})
    await payer.terms("postpaid", 100 * USD)
    payer.account.settings.meter_price = plan(local, 1500)
    assert (await payer.service.subscribe(ORG))["status"] == "incomplete"
    (failed,) = local.listed("invoices")
    await tell(payer, "invoice.payment_failed", failed)  # it says nothing of a first invoice that fails
    assert (await payer.balance()).suspended == "payment_failed"
    (shown,) = (await payer.service.invoices(ORG, 10, None)).data
    assert (shown["status"], shown["total_usd"], shown["paid_usd"]) == ("open", "15.00", "0.00")

    good = local.save_card(customer)
    await asyncio.sleep(1)  # its times are whole seconds
    local.ask("POST", f"/v1/customers/{customer}", **{chosen: good})
    await heard(payer, local, "customer.updated", n=2)  # the older choice comes last
    assert (await payer.customer()).payment_method_id == good
    invoice = local.ask("POST", f"/v1/invoices/{shown['id']}/pay")
    await tell(payer, "invoice.paid", invoice)  # it calls this invoice.payment_succeeded
    await heard(payer, local, "payment_intent.succeeded")  # of the invoice: credited as that already
    await heard(payer, local, "invoice.payment_succeeded")
    await tell(payer, "invoice.payment_failed", failed)  # once more, late
    paid = await payer.balance()
    assert (paid.suspended, paid.available) == (None, 15 * USD)
    assert await payer.steps("top_up") == 1
    (shown,) = (await payer.service.invoices(ORG, 10, None)).data
    assert (shown["status"], shown["paid_usd"]) == ("paid", "15.00")


async def test_lists_are_read_to_their_end_page_by_page(local: Localstripe) -> None:
    stripe = Stripe(API_KEY, api_base=local.base_url)
    customer = local.ask("POST", "/v1/customers", name="many")["id"]
    card = local.save_card(customer)
    for n in range(1, 4):
        local.ask("POST", "/v1/charges", amount=n * 100, currency="usd", customer=customer, source=card)
    first = await stripe.page("charges", {"customer": customer}, 2)
    rest = await stripe.page("charges", {"customer": customer}, 2, first.data[-1]["id"])
    assert (first.has_more, rest.has_more) == (True, False)
    assert [each["amount"] for each in [*first.data, *rest.data]] == [100, 200, 300]  # it lists oldest first
    with pytest.raises(StripeRefused) as refused:
        await stripe.page("charges", {"customer": "cus_of_nobody"}, 2)
    assert refused.value.status == 404
    await stripe.close()


async def test_it_keeps_no_idempotency_keys(local: Localstripe) -> None:
    """If this fails, localstripe has learnt them: then it can judge our repeats too."""
    stripe = Stripe(API_KEY, api_base=local.base_url)
    made = [await stripe.create_customer({"name": "same"}, "onereel-same") for _ in range(2)]
    assert made[0]["id"] != made[1]["id"]
    assert [call.key for call in local.posts("/v1/customers")] == ["onereel-same", "onereel-same"]
    await stripe.close()


def test_it_posts_its_webhooks_to_a_whole_gateway(local: Localstripe, tmp_path: Path) -> None:
    account = {"api_key": API_KEY, "webhook_secret": SECRET, "api_base": local.base_url}
    settings = settings_for(tmp_path, billing={"mode": "prepaid"}, stripe=account)
    with live(settings) as gateway, gateway.client() as client:
        local.send_webhooks_to(f"{gateway.base_url}/v1/billing/stripe/webhook")
        assert client.post("/v1/billing/portal").is_error  # it has no portal; the customer is made for it
        (customer,) = local.listed("customers")
        local.save_card(customer["id"])
        wanted = {"threshold_usd": "10.00", "amount_usd": "40.00"}
        assert client.post("/v1/billing/recharge", json=wanted).json()["enabled"] is True
        deadline = time.monotonic() + 30
        while ("payment_intent.succeeded", "handled") not in inbox(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        balance = client.get("/v1/billing/balance").json()
        assert client.get("/v1/billing/receipts").json()["data"][0]["amount_usd"] == "40.00"
    assert len(local.listed("charges")) == 1
    assert balance["available"] == "40.000000"


def inbox(data_dir: Path) -> list[tuple[str, str]]:
    """Type and state of what came in."""
    db = sqlite3.connect(data_dir / "onereel.db")
    try:
        return db.execute("SELECT type, state FROM stripe_events").fetchall()
    finally:
        db.close()
