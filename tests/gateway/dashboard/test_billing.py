"""The pages of money, before the double of Stripe."""

import csv
import io
import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.billing.stripe_double import API_KEY, PRICE, SECRET, StripeDouble, stripe_double
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for

TERMS = "/v1/organizations/org_default"


@pytest.fixture(scope="module")
def double() -> Iterator[StripeDouble]:
    with stripe_double() as running:
        yield running


@pytest.fixture(scope="module")
def visit(double: StripeDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    account = {
        "api_key": API_KEY,
        "webhook_secret": SECRET,
        "api_base": double.base_url,
        "meter_price": PRICE,
    }
    folder = tmp_path_factory.mktemp("billing")
    with visiting(settings_for(folder, billing={"mode": "prepaid"}, stripe=account)) as visit:
        yield visit


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Without Stripe, billing off."""
    with visiting(settings_for(tmp_path_factory.mktemp("bare"))) as visit:
        yield visit


def deliver(visit: Visit, double: StripeDouble) -> None:
    """Tell the gateway everything that Stripe has to tell."""
    for event in double.world.events:
        body, header = double.signed(event)
        headers = {"stripe-signature": header, "content-type": "application/json"}
        answer = httpx.post(f"{visit.live.base_url}/v1/billing/stripe/webhook", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
    double.world.events.clear()


def top_up(visit: Visit, double: StripeDouble, fields: dict[str, Any]) -> str:
    """Pay at Stripe; answers the page that one comes back to."""
    before = set(double.world.sessions)
    answer = visit.post("/billing/checkout", fields, status=200)
    url = re.search(r'href="(https://checkout\.stripe\.example/[^"]+)"', answer.text)
    assert url
    assert answer.headers["refresh"] == f"0; url={url[1]}"
    (session,) = set(double.world.sessions) - before
    call = double.posts("/v1/checkout/sessions")[-1]
    assert call.fields["cancel_url"] == f"{visit.live.base_url}/billing"
    double.world.pay(session)
    back = urlsplit(call.fields["success_url"])
    assert f"{back.scheme}://{back.netloc}" == visit.live.base_url
    return f"{back.path}?{back.query}"


def test_a_top_up_from_its_amount_to_the_balance(visit: Visit, double: StripeDouble) -> None:
    page = visit.page("/billing")
    assert "Go on to Stripe" in page
    assert "Prepaid" in page
    back = top_up(visit, double, {"preset": "25.00", "save_card": "true"})
    waiting = visit.page(back)
    assert "being confirmed" in waiting
    assert re.search(r'id="balance"[^>]* data-refresh="3"', waiting)
    deliver(visit, double)
    arrived = visit.page(back)
    assert "has arrived" in arrived
    assert 'data-refresh="3"' not in arrived
    assert "$25.00" in arrived
    assert "has arrived" in visit.page("/billing?paid=1")
    assert "has arrived" not in visit.page("/billing")
    assert "being confirmed" in visit.page(f"/billing?paid={int(time.time()) + 60}")


def test_a_payment_that_never_comes_is_not_waited_for_for_ever(bare: Visit) -> None:
    page = bare.page(f"/billing?paid={int(time.time()) - 3600}")
    assert "has not confirmed" in page
    assert 'data-refresh="3"' not in page
    assert "being confirmed" in bare.page("/billing?paid=1")
    bare.page("/billing?paid=yes", 400)


@pytest.mark.parametrize("fields", [{}, {"amount_usd": "0.10"}, {"amount_usd": "a lot"}])
def test_an_amount_that_cannot_be_paid_is_refused_at_its_field(visit: Visit, fields: dict[str, str]) -> None:
    told = visit.post("/billing/checkout", fields, status=400).json()["error"]
    assert told["param"] == "amount_usd"


def test_automatic_recharge_and_the_portal(visit: Visit, double: StripeDouble) -> None:
    top_up(visit, double, {"amount_usd": "12.34", "save_card": "true"})
    deliver(visit, double)
    recharge = {"enabled": "true", "threshold_usd": "0.00", "amount_usd": "20.00"}
    told = visit.post("/billing/recharge", {**recharge, "amount_usd": "0.01"}, status=400).json()["error"]
    assert told["param"] == "amount_usd"
    visit.post("/billing/recharge", recharge)
    assert "is charged $20.00 whenever" in visit.page("/billing")
    visit.post("/billing/recharge", {"enabled": "false"})
    assert "is charged $20.00" not in visit.page("/billing")
    answer = visit.post("/billing/portal", status=200)
    assert answer.headers["refresh"].startswith("0; url=https://billing.stripe.example/")
    assert double.posts("/v1/billing_portal/sessions")[-1].fields["return_url"].endswith("/billing")
    log = visit.operator.get("/v1/organization/audit_logs?event_types=recharge.updated").json()["data"]
    assert log[0]["actor"]["type"] == "session"


def test_papers_are_asked_for_after_the_page(visit: Visit, double: StripeDouble) -> None:
    calls = len(double.calls)
    page = visit.page("/billing/papers")
    assert 'data-src="/billing/papers/list"' in page
    assert len(double.calls) == calls
    shown = visit.page("/billing/papers/list")
    assert "succeeded" in shown
    assert "data-refresh" not in shown
    assert "$25.00" in shown


def test_the_ledger_by_kind_and_as_a_file(visit: Visit) -> None:
    visit.post("/billing/operator/credit", {"amount_usd": "5.00", "reason": "a gift"})
    page = visit.page("/billing/ledger")
    assert "a gift" in page
    assert "Paid in" in page
    only = visit.page("/billing/ledger?kind=credit")
    assert "a gift" in only
    assert "automatic recharge" not in only.partition("</form>")[2]
    visit.page("/billing/ledger?kind=nonsense", 400)
    visit.page("/billing/ledger?after=led_nothing", 400)
    answer = visit.client.get("/billing/ledger/file?kind=top_up")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["type"] for row in rows} == {"top_up"}
    assert visit.client.get("/billing/ledger/file").text.count("a gift") == 2


def test_what_an_operator_gives_and_takes(visit: Visit) -> None:
    gift = {"amount_usd": "3.00", "reason": "spring", "expires_at": "2099-12-31"}
    visit.post("/billing/operator/credit", gift)
    assert "$3.00 left of $3.00" in visit.page("/billing")
    for fields, param in (
        ({"amount_usd": "x", "reason": "y"}, "amount_usd"),
        ({"amount_usd": "1"}, "reason"),
        ({"amount_usd": "1", "reason": "y", "expires_at": "2001-01-01"}, "expires_at"),
    ):
        told = visit.post("/billing/operator/credit", fields, status=400).json()["error"]
        assert told["param"] == param
    visit.post("/billing/operator/adjust", {"amount_usd": "-1.00", "reason": "typo"})
    assert "Corrected." in unescape(visit.page("/billing/operator"))
    told = visit.post("/billing/operator/adjust", {"amount_usd": "-999", "reason": "x"}, status=400)
    assert told.json()["error"]["param"] == "amount_usd"
    visit.post("/billing/operator/refund", {"video": "video_nothing", "reason": "x"}, status=404)


def test_each_role_and_its_money(visit: Visit) -> None:
    admin, billing = visit.member("admin"), visit.member("billing")
    for member in (admin, billing):
        assert "Available" in member.page("/billing")
        member.page("/billing/ledger")
        member.page("/billing/operator", 403)
        member.page("/billing/ledger?kind=cost", 400)
        assert "Operator" not in member.page("/billing").partition("</h1>")[2]
        for path in ("credit", "adjust", "refund"):
            fields = {"amount_usd": "1", "reason": "me", "video": "video_1"}
            member.post(f"/billing/operator/{path}", fields, status=403)
    assert "Go on to Stripe" in billing.page("/billing")
    assert "Go on to Stripe" not in admin.page("/billing")
    assert "Open the portal" not in admin.page("/billing")
    for path in ("checkout", "portal", "recharge", "subscription"):
        admin.post(f"/billing/{path}", {"amount_usd": "5.00"}, status=403)
    billing.post("/billing/checkout", {"amount_usd": "5.00"}, status=200)
    for role in ("developer", "viewer"):
        member = visit.member(role)
        for path in ("", "/ledger", "/ledger/file", "/papers", "/papers/list", "/operator"):
            member.page(f"/billing{path}", 403)


def test_a_postpaid_organization_subscribes(visit: Visit, double: StripeDouble) -> None:
    terms = {"billing_mode": "postpaid", "credit_limit_usd": "50.00"}
    assert visit.operator.post(TERMS, json=terms).status_code == 200
    time.sleep(1.1)  # what a session knows of its organization is believed for a second
    assert "Start the subscription" in visit.page("/billing")
    visit.post("/billing/subscription")
    page = visit.page("/billing")
    assert "Usage is invoiced monthly" in page
    assert "Start the subscription" not in page
    assert "$50.00" in page


def test_without_stripe_nothing_is_offered_that_cannot_work(bare: Visit) -> None:
    page = bare.page("/billing")
    assert "not set up on this installation" in page
    assert "Billing is off" in page
    for word in ("Go on to Stripe", "Open the portal", "Automatic recharge"):
        assert word not in page
    assert "No invoices here" in bare.page("/billing/papers")
    for path in ("checkout", "portal", "recharge", "subscription"):
        told = bare.post(f"/billing/{path}", {"amount_usd": "5.00"}, status=400).json()["error"]
        assert told["code"] == "stripe_not_configured", path


def test_stripe_that_is_away_is_said_in_its_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    account = {"api_key": API_KEY, "api_base": "http://127.0.0.1:9"}
    folder = tmp_path_factory.mktemp("away")
    with visiting(settings_for(folder, billing={"mode": "prepaid"}, stripe=account)) as visit:
        assert "Go on to Stripe" in visit.page("/billing")
        assert "None yet" in visit.page("/billing/papers/list")  # nobody was ever a customer
        told = visit.post("/billing/checkout", {"amount_usd": "5.00"}, status=503).json()["error"]
        assert told["code"] == "stripe_unavailable"
