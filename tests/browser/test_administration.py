"""Keys, webhooks, projects, the audit log and money in a real browser; Stripe is the double, with a cashier of its own."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from typing import Any

import httpx
import pytest
from playwright.sync_api import Playwright, expect

from providers.testing import FakeUpstream
from tests.billing.stripe_double import API_KEY, PRICE, SECRET, StripeDouble, stripe_double
from tests.browser.chromium import browsing
from tests.browser.conftest import NewPerson
from tests.browser.person import Person, first_link
from tests.server import Server

PAGES = (
    "/keys", "/keys/new", "/webhooks", "/webhooks/default", "/projects", "/projects/proj_default", "/audit",
    "/billing", "/billing/ledger", "/billing/papers", "/billing/operator",
)  # fmt: skip


@pytest.fixture(scope="module")
def double() -> Iterator[StripeDouble]:
    with stripe_double() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: FakeUpstream, double: StripeDouble) -> Iterator[Server]:
    """A server whose customers pay."""
    env = {
        "ONEREEL_BILLING__MODE": "prepaid",
        "ONEREEL_STRIPE__API_KEY": API_KEY,
        "ONEREEL_STRIPE__WEBHOOK_SECRET": SECRET,
        "ONEREEL_STRIPE__API_BASE": double.base_url,
        "ONEREEL_STRIPE__METER_PRICE": PRICE,
    }
    with Server(upstream=upstream, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def owner_state(playwright: Playwright, server: Server) -> list[Any]:
    with browsing(playwright) as context:
        Person.at(context, server).sign_up(first_link(server))
        return list(context.cookies())


@pytest.fixture
def cashier(server: Server, double: StripeDouble) -> Iterator[str]:
    """Stripe's own page, as far as people see of it: whoever opens it has paid, and may go back."""

    class Till(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            session = self.path.rpartition("/")[2]
            double.world.pay(session)
            for event in double.world.events:
                body, header = double.signed(event)
                headers = {"stripe-signature": header, "content-type": "application/json"}
                httpx.post(f"{server.base_url}/v1/billing/stripe/webhook", content=body, headers=headers)
            back = double.posts("/v1/checkout/sessions")[-1].fields["success_url"]
            page = f'<title>Till</title><link rel="icon" href="data:,"><a href="{back}">Paid</a>'.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: Any) -> None:
            pass

    till = ThreadingHTTPServer(("127.0.0.1", 0), Till)
    threading.Thread(target=till.serve_forever, daemon=True).start()
    make = double.world.create_session

    def create_session(fields: dict[str, Any]) -> dict[str, Any]:
        session = make(fields)
        session["url"] = f"http://127.0.0.1:{till.server_port}/{session['id']}"
        return session

    double.world.create_session = create_session  # type: ignore[method-assign]
    yield f"http://127.0.0.1:{till.server_port}"
    double.world.create_session = make  # type: ignore[method-assign]
    till.shutdown()
    till.server_close()


def test_a_key_is_made_used_and_revoked(owner: Person, server: Server) -> None:
    page = owner.open("/keys")
    page.get_by_role("link", name="Make a key").last.click()
    owner.heading("Make a key")
    page.get_by_label("Name", exact=False).first.fill("shop")
    page.get_by_label("Requests a minute").fill("0")
    page.get_by_label("Requests a minute").evaluate("field => field.removeAttribute('min')")
    page.get_by_label("Search models").fill("fast")
    page.get_by_label("acme/fast").check()
    page.get_by_label("Budget in USD").fill("5.00")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("alert")).to_contain_text("greater than or equal to 1")
    expect(page.get_by_label("Name", exact=False).first).to_have_value("shop")  # nothing typed is lost
    page.get_by_label("Requests a minute").fill("60")
    page.get_by_role("button", name="Make the key").click()
    owner.heading("Your new key")
    value = page.locator("pre").first.inner_text().strip()
    assert re.fullmatch(r"onereel_[\w-]+", value)
    headers = {"Authorization": f"Bearer {value}"}
    assert httpx.get(f"{server.base_url}/v1/videos", headers=headers).status_code == 200
    page.get_by_role("link", name="Done").click()
    owner.heading("API keys")
    row = page.get_by_role("row").filter(has_text="shop")
    expect(row).to_contain_text("60 requests a minute")
    expect(row).to_contain_text("$0.00 of $5.00")
    row.get_by_role("button", name="Revoke shop").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert httpx.get(f"{server.base_url}/v1/videos", headers=headers).status_code == 401
    page = owner.open("/audit")
    page.get_by_label("What").select_option(label="API key revoked")
    expect(page.locator("#entries tbody tr")).to_have_count(1)
    assert "event=api_key.deleted" in page.url


def test_a_top_up_goes_to_the_cashier_and_comes_back(owner: Person, cashier: str) -> None:
    page = owner.open("/billing")
    expect(page.get_by_text("$0.00").first).to_be_visible()
    page.get_by_role("button", name="$25.00").click()
    page.wait_for_url(f"{cashier}/**")
    page.get_by_role("link", name="Paid").click()
    expect(page.get_by_text("Your payment has arrived.")).to_be_visible(timeout=15_000)
    expect(page.get_by_text("$25.00").first).to_be_visible()
    page.get_by_role("link", name="Invoices and receipts").click()
    expect(page.get_by_text("succeeded")).to_be_visible()


def test_a_project_is_archived_by_who_types_its_name(owner: Person) -> None:
    page = owner.open("/projects")
    page.get_by_role("button", name="Make a project").click()
    page.get_by_label("Name", exact=False).fill("Spring")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("link", name="Spring").click()
    owner.heading("Spring")
    page.get_by_label("Type the name").fill("spring")
    page.get_by_role("button", name="Archive Spring").click()
    expect(page.get_by_role("alert")).to_contain_text("Type the name of the project")
    page.get_by_label("Type the name").fill("Spring")
    page.get_by_role("button", name="Archive Spring").click()
    owner.heading("Projects")
    expect(page.get_by_role("row").filter(has_text="Spring")).to_contain_text("archived")


def test_a_secret_of_webhooks_is_shown_once(owner: Person) -> None:
    page = owner.open("/webhooks")
    page.get_by_role("button", name="Add an endpoint").first.click()
    page.get_by_label("Name", exact=False).fill("shop")
    page.get_by_label("Address", exact=False).fill("http://10.1.1.1/hook")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Address", exact=False).fill("https://hooks.example.com/onereel")
    page.get_by_role("button", name="Add it").click()
    owner.heading("Endpoint added")
    assert page.locator("pre").inner_text().startswith("whsec_")
    page.get_by_role("link", name="To the endpoint").click()
    owner.heading("shop")


@pytest.mark.parametrize(("dark", "phone"), list(product((False, True), repeat=2)))
def test_no_page_is_closed_to_anybody(
    new_person: NewPerson, owner_state: list[Any], dark: bool, phone: bool
) -> None:
    size = {"width": 390, "height": 844} if phone else {"width": 1440, "height": 900}
    person = new_person(dark=dark, phone=phone, **size)
    person.context.add_cookies(owner_state)
    person.open("/keys/new")
    person.page.get_by_label("Name", exact=False).first.fill("a key with a long name for a program")
    person.page.get_by_label("Budget in USD").fill("5.00")
    person.page.get_by_role("button", name="Make the key").click()
    person.heading("Your new key")
    assert not person.barriers()
    for path in PAGES:
        page = person.open(path)
        expect(page.get_by_role("heading", level=1, name="Not found")).to_have_count(0)
        person.picture(
            f"administration{path.replace('/', '-')}{'-dark' if dark else ''}{'-phone' if phone else ''}",
            whole=True,
        )
        assert not person.barriers()
        assert person.overflow() <= 0, path
