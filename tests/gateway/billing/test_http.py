"""Balance, ledger, credit, budgets, plans and terms over HTTP, with a real upstream behind."""

import csv
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.testing import FakeUpstream
from tests.gateway.live import Live, live, settings_for

MODEL = {"id": "acme/fast", "price_per_second_usd": "0.10"}
GOOD = {"prompt": "a cat", "model": "acme/fast", "seconds": "4"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=20) as server:
        yield server


def upstream(fake: FakeUpstream) -> dict[str, Any]:
    return {"name": "acme", "base_url": fake.base_url, "models": [MODEL], "api_key": "secret"}


def sleeper(lazy: FakeUpstream) -> dict[str, Any]:
    return upstream(lazy) | {"name": "lazy", "models": [MODEL | {"id": "lazy/slow"}]}


@pytest.fixture(scope="module")
def lazy() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=20, run_seconds=(20, 20)) as server:
        yield server


@pytest.fixture
def slow(lazy: FakeUpstream) -> dict[str, str]:
    """Fields of a video that does not end by itself."""
    assert lazy.base_url
    return {"model": "lazy/slow"}


@pytest.fixture(scope="module")
def gateway(
    fake: FakeUpstream, lazy: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    plans = [{"id": "tiny", "requests_per_minute": 3}, {"id": "gift", "included_monthly_usd": "2.00"}]
    folder = tmp_path_factory.mktemp("billing")
    with live(settings_for(folder, upstreams=[upstream(fake), sleeper(lazy)], plans=plans)) as running:
        yield running


class Customer:
    """An organization of its own, and two ways to call: as its key, and as the operator in its project."""

    def __init__(self, gateway: Live, **terms: Any) -> None:
        with gateway.client() as operator:
            made = operator.post("/v1/organizations", json={"name": "customer"}).json()
            self.id, self.project = made["id"], made["default_project_id"]
        headers = {"X-Onereel-Project": self.project}
        self.operator = gateway.client()
        self.operator.headers.update(headers)
        key = self.operator.post(
            f"/v1/organization/projects/{self.project}/api_keys",
            json={
                "name": "k",
                "scopes": ["videos.read", "videos.write", "billing.read", "billing.write", "organization"],
            },
        ).json()
        self.key_id = key["id"]
        self.http = httpx.Client(
            base_url=gateway.base_url, headers={"Authorization": f"Bearer {key['value']}"}, timeout=30
        )
        if terms:
            self.terms(**terms)

    def terms(self, **changes: Any) -> dict[str, Any]:
        answer = self.operator.post(f"/v1/organizations/{self.id}", json=changes)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def give(self, amount: str, **more: Any) -> dict[str, Any]:
        body = {"amount_usd": amount, "reason": "test", "organization": self.id, **more}
        answer = self.operator.post("/v1/billing/credits", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def balance(self) -> tuple[str, str]:
        found = self.http.get("/v1/billing/balance").json()
        return found["available"], found["held"]

    def create(self, **changes: Any) -> httpx.Response:
        return self.http.post("/v1/videos", json=GOOD | changes)

    def finished(self, video: dict[str, Any]) -> dict[str, Any]:
        for _ in range(300):
            found: dict[str, Any] = self.http.get(f"/v1/videos/{video['id']}").json()
            if found["status"] in {"completed", "failed"}:
                return found
            time.sleep(0.05)
        raise AssertionError("the video did not end")


def code(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["code"])


def test_prepaid_from_credit_to_capture(gateway: Live) -> None:
    customer = Customer(gateway, billing_mode="prepaid")
    refused = customer.create()
    assert code(refused, 429) == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    customer.give("1.00")
    video = customer.create().json()
    assert customer.finished(video)["cost"] == {"currency": "usd", "amount": "0.400000", "status": "captured"}
    assert customer.balance() == ("0.600000", "0.000000")
    entries = customer.http.get("/v1/billing/ledger?order=asc").json()["data"]
    assert [entry["type"] for entry in entries] == ["credit", "hold", "capture"]
    assert [entry["amount"] for entry in entries] == ["1.000000", "-0.400000", "0.000000"]
    page = customer.http.get(f"/v1/billing/ledger?limit=1&after={entries[1]['id']}&order=asc").json()
    assert [entry["id"] for entry in page["data"]] == [entries[2]["id"]]


def test_promotional_credit_goes_first(gateway: Live) -> None:
    customer = Customer(gateway, billing_mode="prepaid")
    customer.give("1.00")
    customer.give("0.50", expires_at=int(time.time()) + 3600)
    customer.finished(customer.create().json())
    balance = customer.http.get("/v1/billing/balance").json()
    assert (balance["available"], balance["promotional"]) == ("1.100000", "0.100000")
    gift, paid = customer.http.get("/v1/billing/credits").json()["data"]
    assert (gift["remaining_usd"], paid["remaining_usd"]) == ("0.100000", None)


def test_credit_is_the_operators_and_once_per_key(gateway: Live) -> None:
    customer = Customer(gateway, billing_mode="prepaid")
    body = {"amount_usd": "5.00", "reason": "mine"}
    assert code(customer.http.post("/v1/billing/credits", json=body), 403) == "missing_scope"
    assert code(customer.http.post(f"/v1/organizations/{customer.id}", json={}), 403) == "missing_scope"
    headers = {"Idempotency-Key": "gift-1"}
    first, again = (
        customer.operator.post("/v1/billing/credits", json=body, headers=headers).json() for _ in range(2)
    )
    assert first == again
    assert customer.balance() == ("5.000000", "0.000000")
    for bad in (
        {"amount_usd": "-1"},
        {"amount_usd": 0.1},
        {"amount_usd": "1.1234567"},
        {"organization": "org_x"},
    ):
        answer = customer.operator.post("/v1/billing/credits", json=body | bad)
        assert answer.status_code in {400, 404}, answer.text
        assert answer.json()["error"]["param"] in {"amount_usd", "organization"}


def test_an_adjustment_never_passes_what_may_be_owed(gateway: Live) -> None:
    customer = Customer(gateway, billing_mode="prepaid")
    customer.give("1.00")
    body = {"amount_usd": "-0.75", "reason": "typo"}
    assert customer.operator.post("/v1/billing/adjustments", json=body).json()["available"] == "0.250000"
    assert code(customer.operator.post("/v1/billing/adjustments", json=body), 400) == "invalid_value"
    assert customer.balance() == ("0.250000", "0.000000")


@pytest.mark.parametrize("scope", ["organization", "project", "key", "user"])
def test_exactly_seven_of_many_fit_a_budget(gateway: Live, scope: str) -> None:
    customer = Customer(gateway)
    scope_id = {"project": customer.project, "key": customer.key_id, "user": "anna"}.get(scope)
    body = {"scope": scope, "amount_usd": "2.80", "period": "day"} | (
        {"scope_id": scope_id} if scope_id else {}
    )
    budget = customer.http.post("/v1/billing/budgets", json=body).json()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: customer.create(user="anna"), range(40)))
    assert sum(answer.status_code == 200 for answer in answers) == 7
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert code(refused, 429) == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    assert f"budget of this {scope}" in refused.json()["error"]["message"]
    assert customer.http.get("/v1/billing/budgets").json()["data"][0]["used"] == "2.800000"
    other = {"user": "bob"} if scope == "user" else {}
    if other:
        assert customer.create(**other).status_code == 200
    assert customer.http.delete(f"/v1/billing/budgets/{budget['id']}").json()["deleted"] is True
    assert customer.create(user="anna").status_code == 200


def test_a_budget_in_seconds_and_its_correction(gateway: Live, fake: FakeUpstream) -> None:
    customer = Customer(gateway)
    budget = customer.http.post("/v1/billing/budgets", json={"seconds": 8}).json()
    assert (budget["unit"], budget["amount"], budget["period"]) == ("seconds", "8", "month")
    videos = [customer.create().json() for _ in range(2)]
    assert code(customer.create(), 429) == "insufficient_quota"
    customer.http.post(f"/v1/videos/{videos[0]['id']}/cancel")
    ended = [customer.finished(video)["status"] for video in videos]
    used = customer.http.get("/v1/billing/budgets").json()["data"][0]["used"]
    assert used == str(4 * ended.count("completed"))
    changed = customer.http.post(f"/v1/billing/budgets/{budget['id']}", json={"seconds": 100}).json()
    assert changed["amount"] == "100"
    wrong = customer.http.post(f"/v1/billing/budgets/{budget['id']}", json={"amount_usd": "1"})
    assert code(wrong, 400) == "invalid_value"
    foreign = Customer(gateway).http.delete(f"/v1/billing/budgets/{budget['id']}")
    assert code(foreign, 404) == "budget_not_found"


def test_a_key_with_a_budget(gateway: Live) -> None:
    customer = Customer(gateway)
    path = f"/v1/organization/projects/{customer.project}/api_keys"
    made = customer.http.post(path, json={"name": "small", "budget": {"amount_usd": "0.40", "period": "day"}})
    assert made.status_code == 200, made.text
    headers = {"Authorization": f"Bearer {made.json()['value']}"}
    answers = [customer.http.post("/v1/videos", json=GOOD, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert customer.create().status_code == 200


def test_plans_limit_and_say_so(gateway: Live) -> None:
    customer = Customer(gateway, plan="free")
    assert customer.balance() == ("1.000000", "0.000000")
    refused = customer.create(seconds="12")
    assert code(refused, 403) == "plan_limit"
    assert refused.json()["error"]["param"] == "seconds"
    assert code(customer.create(size="1024x1792"), 403) == "plan_limit"
    assert customer.create().status_code == 200
    assert code(customer.create(size="1280x720"), 403) == "plan_limit"
    assert "free" in [plan["id"] for plan in customer.http.get("/v1/billing/plans").json()["data"]]
    assert code(customer.operator.post(f"/v1/organizations/{customer.id}", json={"plan": "gold"}), 400)


def test_a_plans_request_limit_counts_for_all_keys(gateway: Live) -> None:
    customer = Customer(gateway, plan="tiny")
    time.sleep(1.1)
    answers = [customer.create() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert "this organization" in answers[3].json()["error"]["message"]


def test_an_organization_may_start_on_a_plan(gateway: Live) -> None:
    with gateway.client() as operator:
        made = operator.post("/v1/organizations", json={"name": "studio", "plan": "pro"}).json()
        assert operator.get(f"/v1/organizations/{made['id']}").json()["plan"] == "pro"
        refused = operator.post("/v1/organizations", json={"name": "studio", "plan": "gold"})
        assert code(refused, 400) == "invalid_value"
        assert refused.json()["error"]["param"] == "plan"


def test_included_credit_comes_once_a_month(gateway: Live) -> None:
    customer = Customer(gateway, plan="gift", billing_mode="prepaid")
    customer.terms(plan="gift")
    assert customer.balance() == ("2.000000", "0.000000")
    assert (
        customer.http.get("/v1/billing/credits").json()["data"][0]["reason"] == "included in the plan 'gift'"
    )


def test_a_suspended_organization_makes_nothing(gateway: Live) -> None:
    customer = Customer(gateway, suspended=True)
    refused = customer.create()
    assert code(refused, 403) == "organization_suspended"
    assert customer.http.get("/v1/videos").status_code == 200
    assert customer.terms(suspended=False)["billing"]["suspended"] is None
    assert customer.create().status_code == 200


def test_terms_that_would_leave_a_debt_are_refused(gateway: Live) -> None:
    customer = Customer(gateway, billing_mode="postpaid", credit_limit_usd="1.00")
    customer.finished(customer.create().json())
    for terms in ({"billing_mode": "prepaid"}, {"credit_limit_usd": "0.10"}):
        answer = customer.operator.post(f"/v1/organizations/{customer.id}", json=terms)
        assert code(answer, 400) == "invalid_value"
    assert customer.balance() == ("-0.400000", "0.000000")
    customer.give("0.40")
    assert customer.terms(billing_mode="prepaid")["billing"]["credit_limit"] == "0.000000"
    limited = {"billing_mode": "prepaid", "credit_limit_usd": "3.00"}
    assert code(customer.operator.post(f"/v1/organizations/{customer.id}", json=limited), 400)
    time.sleep(1.1)
    assert code(customer.create(), 429) == "insufficient_quota"


def test_billing_turned_on_writes_off_what_was_only_recorded(gateway: Live) -> None:
    customer = Customer(gateway)
    customer.finished(customer.create().json())
    assert customer.balance() == ("-0.400000", "0.000000")
    assert customer.terms(billing_mode="prepaid")["billing"]["available"] == "0.000000"
    time.sleep(1.1)
    assert code(customer.create(), 429) == "insufficient_quota"


def test_billing_is_not_turned_on_under_videos_that_run(gateway: Live, slow: dict[str, str]) -> None:
    customer = Customer(gateway)
    video = customer.create(**slow).json()
    answer = customer.operator.post(f"/v1/organizations/{customer.id}", json={"billing_mode": "prepaid"})
    assert code(answer, 400) == "invalid_value"
    assert "let them end" in answer.json()["error"]["message"]
    customer.http.post(f"/v1/videos/{video['id']}/cancel")
    customer.finished(video)
    assert customer.terms(billing_mode="prepaid")["billing"]["available"] == "0.000000"


def test_a_refund_gives_back_what_was_charged_and_no_more(gateway: Live) -> None:
    customer = Customer(gateway, billing_mode="prepaid")
    customer.give("1.00")
    video = customer.finished(customer.create().json())
    body = {"video": video["id"], "reason": "it flickers"}
    assert code(customer.http.post("/v1/billing/refunds", json=body), 403) == "missing_scope"
    part = customer.operator.post("/v1/billing/refunds", json=body | {"amount_usd": "0.10"}).json()
    assert (part["amount_usd"], customer.balance()) == ("0.100000", ("0.700000", "0.000000"))
    too_much = customer.operator.post("/v1/billing/refunds", json=body | {"amount_usd": "0.31"})
    assert code(too_much, 400) == "invalid_value"
    assert customer.operator.post("/v1/billing/refunds", json=body).json()["amount_usd"] == "0.300000"
    assert code(customer.operator.post("/v1/billing/refunds", json=body), 400) == "invalid_value"
    assert customer.balance() == ("1.000000", "0.000000")
    unknown = customer.operator.post("/v1/billing/refunds", json=body | {"video": "video_x"})
    assert code(unknown, 404) == "video_not_found"


def test_a_foreign_organization_sees_nothing(gateway: Live) -> None:
    rich, other = Customer(gateway), Customer(gateway)
    rich.give("9.00")
    assert other.balance() == ("0.000000", "0.000000")
    assert other.http.get("/v1/billing/ledger").json()["data"] == []
    assert other.http.get("/v1/billing/credits").json()["data"] == []


def test_the_whole_of_it_on_postgresql(fake: FakeUpstream, postgres_url: str, tmp_path: Path) -> None:
    with live(settings_for(tmp_path, database_url=postgres_url, upstreams=[upstream(fake)])) as gateway:
        test_prepaid_from_credit_to_capture(gateway)
        test_promotional_credit_goes_first(gateway)
        test_exactly_seven_of_many_fit_a_budget(gateway, "user")
        test_an_adjustment_never_passes_what_may_be_owed(gateway)
        test_billing_turned_on_writes_off_what_was_only_recorded(gateway)


def test_a_budget_names_exactly_one_amount(gateway: Live) -> None:
    customer = Customer(gateway)
    for fields in ({}, {"amount_usd": "1", "seconds": 4}, {"amount_usd": "1", "scope": "key"}):
        answer = customer.http.post("/v1/billing/budgets", json=fields)
        assert code(answer, 400) == "invalid_value"
        assert answer.json()["error"]["param"] in {"amount_usd", "scope_id"}
    foreign = {"amount_usd": "1", "scope": "project", "scope_id": "proj_default"}
    assert code(customer.http.post("/v1/billing/budgets", json=foreign), 400) == "invalid_value"


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="ledger.csv"'
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_the_ledger_as_csv(gateway: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it, however few entries are read at once: a row for each line of each entry."""
    monkeypatch.setattr("gateway.billing.books._FILE_ENTRIES", 2)
    customer = Customer(gateway, billing_mode="prepaid")
    customer.give("1.00", reason="=1+1")
    customer.give("0.10", expires_at=int(time.time()) + 3600)
    customer.finished(customer.create().json())
    for order in ("asc", "desc"):
        listed = customer.http.get(f"/v1/billing/ledger?order={order}").json()["data"]
        expected = [
            {
                "created_at": datetime.fromtimestamp(entry["created_at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "id": entry["id"],
                "type": entry["type"],
                "subject": entry["subject"],
                "account": line["account"],
                "amount": line["amount"],
                "currency": "USD",
                "memo": {"=1+1": "'=1+1", None: ""}.get(entry["memo"], entry["memo"]),
            }
            for entry in listed
            for line in entry["lines"]
        ]
        assert len(listed) == 4
        assert table(customer.http.get(f"/v1/billing/ledger?format=csv&order={order}")) == expected
    sums = [Decimal(row["amount"]) for row in expected]
    assert (sum(sums), min(sums)) == (0, Decimal("-1.00"))
    behind = f"/v1/billing/ledger?order=desc&after={listed[0]['id']}"
    assert table(customer.http.get(behind, headers={"Accept": "text/csv"})) == [
        row for row in expected if row["id"] != listed[0]["id"]
    ]


def test_a_ledger_file_that_cannot_be(gateway: Live) -> None:
    customer = Customer(gateway)
    assert table(customer.http.get("/v1/billing/ledger?format=csv")) == []
    for query, param in (("limit=5", "limit"), ("after=led_x", "after"), ("order=up", "order")):
        answer = customer.http.get(f"/v1/billing/ledger?format=csv&{query}")
        assert (code(answer, 400), answer.json()["error"]["param"]) == ("invalid_value", param)
    focus = customer.http.get("/v1/billing/ledger?format=focus")
    assert (code(focus, 400), focus.json()["error"]["param"]) == ("invalid_value", "format")


def test_credits_of_another_organization_are_the_operators_to_see(gateway: Live) -> None:
    rich, other = Customer(gateway), Customer(gateway)
    rich.give("9.00")
    query = f"/v1/billing/credits?organization={rich.id}"
    [credit] = other.operator.get(query).json()["data"]
    assert (credit["organization_id"], credit["amount_usd"]) == (rich.id, "9.000000")
    assert rich.http.get(query).json()["data"] == [credit]
    assert code(other.http.get(query), 403) == "missing_scope"
    assert code(other.operator.get("/v1/billing/credits?organization=org_x"), 404) == "organization_not_found"
