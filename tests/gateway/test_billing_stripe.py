"""The payment routes over HTTP: a whole gateway, the double of Stripe, real webhook requests."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from providers.testing import FakeUpstream
from tests.billing.stripe_double import API_KEY, PRICE, SECRET, StripeDouble, stripe_double
from tests.gateway.cli.conftest import run_command
from tests.gateway.live import Live, live, settings_for
from tests.gateway.test_app import upstream

WEBHOOK = "/v1/billing/stripe/webhook"
MODULES = """
import sys
from gateway.app import create_app
from gateway.settings import Settings
create_app(Settings())
assert "gateway.billing.stripe" in sys.modules
assert "stripe" not in sys.modules
"""


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with stripe_double() as running:
        yield running


@pytest.fixture
def gateway(double: StripeDouble, tmp_path) -> Iterator[Live]:
    account = {
        "api_key": API_KEY,
        "webhook_secret": SECRET,
        "api_base": double.base_url,
        "meter_price": PRICE,
        "success_url": "https://shop.example/paid",
    }
    settings = settings_for(tmp_path, billing={"mode": "prepaid"}, stripe=account)
    with live(settings) as running:
        yield running


@pytest.fixture
def client(gateway: Live) -> Iterator[httpx.Client]:
    with gateway.client() as operator:
        yield operator


def deliver(gateway: Live, double: StripeDouble, event: dict[str, Any], **signing: Any) -> httpx.Response:
    """As Stripe does it: no key, a signed body."""
    body, header = double.signed(event, **signing)
    headers = {"stripe-signature": header, "content-type": "application/json; charset=utf-8"}
    return httpx.post(f"{gateway.base_url}{WEBHOOK}", content=body, headers=headers)


def available(gateway: Live) -> int:
    with sqlite3.connect(gateway.settings.data_dir / "onereel.db") as db:
        query = "SELECT available FROM billing_balances WHERE organization_id = 'org_default'"
        value = db.execute(query).fetchone()[0]
    db.close()
    return int(value)


def test_from_checkout_to_credit(gateway: Live, client: httpx.Client, double: StripeDouble):
    answer = client.post("/v1/billing/checkout", json={"amount_usd": "25.00", "save_card": True})
    assert answer.status_code == 200, answer.text
    assert answer.json()["url"].startswith("https://checkout.stripe.example/")
    double.world.pay(answer.json()["id"])
    for event in double.world.events * 2:
        assert deliver(gateway, double, event).json() == {"received": True}
    assert available(gateway) == 25_000_000
    receipts = client.get("/v1/billing/receipts").json()
    assert [each["amount_usd"] for each in receipts["data"]] == ["25.00"]
    assert client.get("/v1/billing/invoices").json()["data"] == []
    assert client.post("/v1/billing/portal").json()["url"].startswith("https://billing.stripe.example/")
    assert client.post("/v1/billing/subscription").json()["error"]["code"] == "not_postpaid"


def test_whoever_names_no_address_comes_back_to_the_dashboard(double: StripeDouble, tmp_path):
    account = {"api_key": API_KEY, "api_base": double.base_url}
    settings = settings_for(
        tmp_path, billing={"mode": "prepaid"}, stripe=account, public_url="https://video.example/"
    )
    with live(settings) as gateway, gateway.client() as client:
        assert client.post("/v1/billing/checkout", json={"amount_usd": "5.00"}).status_code == 200
        client.post("/v1/billing/portal")
    sent = double.posts("/v1/checkout/sessions")[-1].fields
    assert sent["success_url"] == "https://video.example/billing?paid=1"
    assert sent["cancel_url"] == "https://video.example/billing"
    assert (
        double.posts("/v1/billing_portal/sessions")[-1].fields["return_url"]
        == "https://video.example/billing"
    )


def test_a_video_of_a_postpaid_organization_is_metered(double: StripeDouble, tmp_path):
    account = {"api_key": API_KEY, "api_base": double.base_url, "meter_price": PRICE}
    with FakeUpstream(poll_after_ms=20) as fake:
        settings = settings_for(tmp_path, stripe=account, upstreams=[upstream(fake.base_url)])
        with live(settings) as gateway, gateway.client() as client:
            terms = {"billing_mode": "postpaid", "credit_limit_usd": "50.00"}
            assert client.post("/v1/organizations/org_default", json=terms).status_code == 200
            client.post("/v1/billing/portal")  # makes the customer
            (customer,) = double.world.customers
            double.world.save_card(customer)
            assert client.post("/v1/billing/subscription").json()["status"] == "active"
            video = client.post("/v1/videos", json={"prompt": "a cat", "seconds": "4"}).json()
            deadline = time.monotonic() + 30
            while not double.world.usage:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            cost = client.get(f"/v1/videos/{video['id']}").json()["cost"]
    (event,) = double.world.usage.values()
    assert event["identifier"] == f"led_capture_0_{video['id']}"
    assert event["payload"]["stripe_customer_id"] == customer
    assert cost["status"] == "captured"
    assert int(event["payload"]["value"]) == int(cost["amount"].replace(".", "")) > 0


def test_recharge_happens_beside_the_requests(gateway: Live, client: httpx.Client, double: StripeDouble):
    session = client.post("/v1/billing/checkout", json={"amount_usd": "5.00", "save_card": True}).json()
    double.world.pay(session["id"])
    for event in double.world.events:
        deliver(gateway, double, event)
    wanted = {"threshold_usd": "10.00", "amount_usd": "40.00"}
    assert client.post("/v1/billing/recharge", json=wanted).json()["saved_card"] is True
    deadline = time.monotonic() + 20
    while available(gateway) != 45_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    shown = client.get("/v1/billing/recharge").json()
    assert (shown["enabled"], shown["in_progress"], shown["last_error"]) == (True, False, None)
    assert (shown["threshold_usd"], shown["amount_usd"]) == ("10.00", "40.00")


def test_a_repeated_checkout_is_the_same_session(client: httpx.Client, double: StripeDouble):
    key = {"Idempotency-Key": "k1"}
    body = {"amount_usd": "25.00"}
    first = client.post("/v1/billing/checkout", json=body, headers=key).json()
    assert client.post("/v1/billing/checkout", json=body, headers=key).json() == first
    assert len(double.world.sessions) == 1
    other = client.post("/v1/billing/checkout", json={"amount_usd": "26.00"}, headers=key)
    assert other.json()["error"]["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("checkout", {}, "amount_usd"),
        ("checkout", {"amount_usd": "0.10"}, "amount_usd"),
        ("checkout", {"amount_usd": "5.00", "success_url": "javascript:alert(1)"}, "success_url"),
        ("checkout", {"amount_usd": "5.00", "customer": "cus_1"}, "customer"),
        ("portal", {"return_url": "x"}, "return_url"),
        ("recharge", {"threshold_usd": "-1"}, "threshold_usd"),
        ("subscription", {"price": "price_cheap"}, "price"),
    ],
)
def test_bad_fields(client: httpx.Client, double: StripeDouble, path: str, body: dict[str, Any], param: str):
    answer = client.post(f"/v1/billing/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert double.calls == []


def test_lists_are_newest_first_only(client: httpx.Client):
    answer = client.get("/v1/billing/receipts?order=asc")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "order")


def test_forged_and_old_webhooks(gateway: Live, client: httpx.Client, double: StripeDouble):
    session = client.post("/v1/billing/checkout", json={"amount_usd": "25.00"}).json()
    double.world.pay(session["id"])
    event = double.world.events[0]
    for signing in ({"secret": "whsec_guessed"}, {"age": 3600.0}):
        answer = deliver(gateway, double, event, **signing)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_signature")
    no_event = deliver(gateway, double, {"object": "v2.core.event", "id": "evt_1"})
    assert (no_event.status_code, no_event.json()["error"]["code"]) == (400, "invalid_event")
    large = httpx.post(f"{gateway.base_url}{WEBHOOK}", content=b"x" * (1024 * 1024 + 1))
    assert large.status_code == 413
    assert available(gateway) == 0


def test_an_event_that_fails_is_answered_500(gateway: Live, double: StripeDouble):
    event = double.world.emit("refund.created", {"object": "refund", "id": "re_1", "payment_intent": "pi_1"})
    answer = deliver(gateway, double, event)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "stripe_event_failed")


def test_stripe_away_is_a_503(gateway: Live, client: httpx.Client, double: StripeDouble):
    double.faults += [("/v1/customers", 500)] * 5
    answer = client.post("/v1/billing/checkout", json={"amount_usd": "25.00"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stripe_unavailable")


def test_scopes(gateway: Live, client: httpx.Client):
    made = client.post(
        "/v1/organization/projects/proj_default/api_keys", json={"name": "r", "scopes": ["billing.read"]}
    ).json()
    reader = {"Authorization": f"Bearer {made['value']}"}
    assert client.get("/v1/billing/recharge", headers=reader).status_code == 200
    refused = client.post("/v1/billing/checkout", json={"amount_usd": "25.00"}, headers=reader)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
    assert httpx.get(f"{gateway.base_url}/v1/billing/invoices").status_code == 401


def test_without_stripe_every_route_names_the_setting(tmp_path):
    with live(settings_for(tmp_path)) as gateway, gateway.client() as client:
        answers = [
            client.post(
                "/v1/billing/checkout", json={"amount_usd": "25.00", "success_url": "https://shop.example"}
            ),
            client.post("/v1/billing/portal"),
            client.get("/v1/billing/invoices"),
            client.get("/v1/billing/receipts"),
            client.get("/v1/billing/recharge"),
            client.post("/v1/billing/recharge", json={"enabled": False}),
            client.post("/v1/billing/subscription"),
        ]
        for answer in answers:
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert error["code"] == "stripe_not_configured"
            assert "ONEREEL_STRIPE__API_KEY" in error["message"]
        hook = httpx.post(f"{gateway.base_url}{WEBHOOK}", content=b"{}")
        assert "ONEREEL_STRIPE__WEBHOOK_SECRET" in hook.json()["error"]["message"]


@pytest.mark.parametrize("env", [{}, {"ONEREEL_STRIPE__API_KEY": "sk_test_x"}])
def test_the_gateway_starts_without_loading_the_package(tmp_path, env: dict[str, str]):
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONEREEL_")}
    subprocess.run([sys.executable, "-c", MODULES], check=True, cwd=tmp_path, env={**kept, **env})


def test_reconcile_prints_and_counts(tmp_path, double: StripeDouble):
    unset = run_command(tmp_path, "billing", "reconcile")
    assert (unset.returncode, unset.stdout) == (1, "")
    assert "ONEREEL_STRIPE__API_KEY" in unset.stderr
    env = {"ONEREEL_STRIPE__API_KEY": API_KEY, "ONEREEL_STRIPE__API_BASE": double.base_url}
    agreed = run_command(tmp_path, "billing", "reconcile", "--days", "3", env=env)
    assert (agreed.returncode, agreed.stdout) == (0, "")
    metadata = {"onereel": "top_up", "organization_id": "org_default"}
    intent = double.world.add_intent(2500, double.world.create_customer({})["id"], metadata, "pm_1")
    intent |= {"status": "succeeded", "amount_received": 2500, "created": intent["created"] - 5}
    differ = run_command(tmp_path, "billing", "reconcile", env=env)
    assert differ.returncode == 1
    assert intent["id"] in differ.stdout
    assert "25.000000" in differ.stdout
    (item,) = json.loads(run_command(tmp_path, "billing", "reconcile", "--json", env=env).stdout)
    assert (item["kind"], item["stripe_micros"], item["ledger_micros"]) == ("payment", 25_000_000, None)
    wrong = run_command(tmp_path, "billing", "reconcile", env={**env, "ONEREEL_STRIPE__API_KEY": "sk_wrong"})
    assert wrong.returncode == 1
    assert "Stripe does not answer: Invalid API Key" in wrong.stderr
