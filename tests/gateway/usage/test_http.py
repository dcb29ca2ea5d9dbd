"""The paths as the stock SDK and a plain client see them, over the real middleware."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from sqlalchemy import insert

from billing.tables import entries, lines
from gateway.clock import Clock
from gateway.db import Database
from gateway.http.auth import Authentication, provide_principal
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.http.reconciliation import ReconciliationController
from gateway.http.usage import CostPage, CostsController, UsageController, UsagePage
from gateway.keys.forms import KeyForm, OrganizationForm
from gateway.keys.limits import RequestLimits
from gateway.keys.service import DEFAULT_ORGANIZATION, KeyService, operator_principal
from gateway.settings import Settings
from gateway.usage.reconciliation import Reconciliation
from gateway.usage.service import UsageService
from tests.gateway.usage.conftest import DAY, START, Cinema, Film

USAGE, COSTS = "/v1/organization/usage/videos", "/v1/organization/costs"
SPAN = {"start_time": START, "end_time": START + 2 * DAY}


@pytest.fixture
async def keys(db: Database, clock: Clock) -> KeyService:
    service = KeyService(db, clock, Settings())
    await service.bootstrap()
    return service


@pytest.fixture
def app(db: Database, clock: Clock, keys: KeyService) -> Litestar:
    usage, reconciliation = UsageService(db, clock), Reconciliation(db, clock)
    return Litestar(
        [UsageController, CostsController, ReconciliationController],
        middleware=[DefineMiddleware(Authentication, keys=keys, limits=RequestLimits(Settings()))],
        exception_handlers=EXCEPTION_HANDLERS,
        dependencies={
            "principal": Provide(provide_principal, sync_to_thread=False),
            "usage": Provide(lambda: usage, sync_to_thread=False),
            "reconciliation": Provide(lambda: reconciliation, sync_to_thread=False),
        },
    )


@pytest.fixture
async def http(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # Litestar types ASGI more narrowly
    async with httpx.AsyncClient(transport=transport, base_url="http://onereel.test") as client:
        yield client


Token = Callable[..., Awaitable[str]]


@pytest.fixture
def token(keys: KeyService) -> Token:
    async def make(*scopes: str) -> str:
        operator = operator_principal()
        form = KeyForm.model_validate({"name": "t", "scopes": list(scopes)})
        return str((await keys.create_key(operator, operator.project_id, form))["value"])

    return make


@pytest.fixture
async def reader(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {await token('usage.read')}"}


@pytest.fixture
async def films(cinema: Cinema) -> Cinema:
    here = {"organization_id": DEFAULT_ORGANIZATION}
    await cinema.place(
        Film(**here, at=START, user="ann", seconds=3),  # type: ignore[arg-type]
        Film(**here, at=START + 60, model="acme/slow"),  # type: ignore[arg-type]
        Film(**here, at=START + DAY, completed=False),  # type: ignore[arg-type]
        Film(at=START),
    )
    return cinema


async def test_usage_page(films: Cinema, http: httpx.AsyncClient, reader: dict[str, str]) -> None:
    answer = await http.get(USAGE, params=SPAN, headers=reader)
    body = answer.json()
    UsagePage.model_validate(body, strict=True)
    assert body == {
        "object": "page",
        "has_more": False,
        "next_page": None,
        "data": [
            {"object": "bucket", "start_time": START, "end_time": START + DAY, "results": [_result(2, 0, 7)]},
            {
                "object": "bucket",
                "start_time": START + DAY,
                "end_time": START + 2 * DAY,
                "results": [_result(0, 1, 0)],
            },
        ],
    }


def _result(completed: int, failed: int, seconds: int) -> dict[str, Any]:
    return {
        "object": "organization.usage.videos.result",
        "num_videos": completed,
        "num_failed": failed,
        "seconds": seconds,
        "project_id": None,
        "api_key_id": None,
        "model": None,
        "user_id": None,
    }


SPELLINGS = [
    "group_by=model&group_by=user_id",
    "group_by=model,user_id",
    "group_by[]=model&group_by[]=user_id",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_lists_in_every_spelling(
    films: Cinema, http: httpx.AsyncClient, reader: dict[str, str], spelling: str
) -> None:
    answer = await http.get(f"{USAGE}?start_time={START}&limit=1&{spelling}", headers=reader)
    results = answer.json()["data"][0]["results"]
    assert [(each["model"], each["user_id"]) for each in results] == [
        ("acme/fast", "ann"),
        ("acme/slow", None),
    ]


async def test_costs_through_the_stock_sdk(films: Cinema, http: httpx.AsyncClient, token: Token) -> None:
    key = await token("usage.read")
    client = openai.AsyncOpenAI(
        api_key=key,
        admin_api_key=key,
        base_url="http://onereel.test/v1",
        http_client=http,  # type: ignore[arg-type]  # this SDK names httpx2, which is the same interface
        max_retries=0,
    )
    page = await client.admin.organization.usage.costs(
        start_time=START,
        end_time=START + 2 * DAY,
        group_by=["line_item", "project_id"],
        line_items=["video seconds, acme/fast"],
        limit=1,
    )
    [result] = page.data[0].results
    assert result.object == "organization.costs.result"
    assert result.amount is not None
    assert (result.amount.value, result.amount.currency) == (0.3, "usd")
    assert (result.line_item, result.project_id) == ("video seconds, acme/fast", "proj_a")
    assert (result.quantity, result.quantity_unit) == (3.0, "duration_seconds")
    assert page.has_more
    assert page.next_page is not None
    last = await client.admin.organization.usage.costs(
        start_time=START, end_time=START + 2 * DAY, page=page.next_page
    )
    assert (last.data[0].results, last.has_more) == ([], False)


async def test_money_is_exact(cinema: Cinema, http: httpx.AsyncClient, reader: dict[str, str]) -> None:
    def book(conn):
        conn.execute(
            insert(entries).values(
                id="e",
                subject="act_1",
                kind="adjust",
                organization_id=DEFAULT_ORGANIZATION,
                created_at=START * 1000,
            )
        )
        amounts = {"revenue": 8_123_456_789_012_345, "customer": -8_123_456_789_012_345}
        conn.execute(
            insert(lines), [{"entry_id": "e", "account": a, "amount": n} for a, n in amounts.items()]
        )

    await cinema.db.write(book)
    answer = await http.get(COSTS, params={**SPAN, "group_by": "line_item"}, headers=reader)
    CostPage.model_validate(answer.json(), strict=True)
    exact = json.loads(answer.text, parse_float=Decimal)["data"][0]["results"][0]
    assert exact["amount"] == {
        "value": Decimal("8123456789.012345"),
        "currency": "usd",
        "exact": "8123456789.012345",
    }
    assert (exact["line_item"], exact["quantity"], exact["project_id"]) == ("adjustment", None, None)
    narrowed = await http.get(COSTS, params={**SPAN, "project_ids": "proj_default"}, headers=reader)
    assert [bucket["results"] for bucket in narrowed.json()["data"]] == [[], []]


async def test_csv_by_format_or_accept(
    films: Cinema, http: httpx.AsyncClient, reader: dict[str, str]
) -> None:
    for path, params, headers in (
        (USAGE, {"format": "csv"}, {}),
        (USAGE, {}, {"Accept": "text/csv, */*"}),
        (COSTS, {"format": "csv"}, {}),
        (COSTS, {"format": "focus"}, {}),
    ):
        answer = await http.get(path, params={**SPAN, **params}, headers=reader | headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/csv")
        assert "attachment" in answer.headers["content-disposition"]
        assert len(answer.text.splitlines()) >= 2


REFUSED = [
    (USAGE, {}, "start_time"),
    (USAGE, {"start_time": "soon"}, "start_time"),
    (USAGE, {"start_time": -1}, "start_time"),
    (COSTS, {**SPAN, "format": "xml"}, "format"),
    (USAGE, {**SPAN, "format": "focus"}, "format"),
    (COSTS, {**SPAN, "format": "focus", "group_by": "model"}, "group_by"),
    (COSTS, {**SPAN, "format": "csv", "limit": 3}, "limit"),
    (USAGE, {**SPAN, "limit": 0}, "limit"),
    (USAGE, {**SPAN, "group_by": "size"}, "group_by"),
]


@pytest.mark.parametrize(("path", "params", "param"), REFUSED)
async def test_refusals_name_the_parameter(
    http: httpx.AsyncClient, reader: dict[str, str], path: str, params: dict[str, Any], param: str
) -> None:
    answer = await http.get(path, params=params, headers=reader)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_scopes(http: httpx.AsyncClient, token: Token, keys: KeyService) -> None:
    for path, scope in (
        (USAGE, "usage.read"),
        (COSTS, "usage.read"),
        ("/v1/billing/reconciliation", "operator"),
    ):
        without = {"Authorization": f"Bearer {await token('videos.read', 'billing.read', 'organization')}"}
        assert (await http.get(path, params=SPAN, headers=without)).status_code == 403
        allowed = {"Authorization": f"Bearer {await token(scope)}"}
        assert (await http.get(path, params=SPAN, headers=allowed)).status_code == 200
        assert (await http.get(path, params=SPAN)).status_code == 401


async def test_another_organization_sees_nothing(
    films: Cinema, http: httpx.AsyncClient, keys: KeyService
) -> None:
    made = await keys.create_organization(operator_principal(), OrganizationForm(name="Elsewhere"))
    there = await keys.acting_in(operator_principal(), made["default_project_id"])
    form = KeyForm.model_validate({"name": "boss", "scopes": ["usage.read"]})
    headers = {"Authorization": f"Bearer {(await keys.create_key(there, there.project_id, form))['value']}"}
    for extra in (
        {},
        {"project_ids": "proj_a"},
        {"group_by": "user_id"},
        {"format": "csv"},
        {"bucket_width": "1h"},
    ):
        for path in (USAGE, COSTS):
            answer = await http.get(path, params={**SPAN, **extra}, headers=headers)
            assert answer.status_code == 200
            assert "acme" not in answer.text
            assert "proj_a" not in answer.text
            if "format" not in extra:
                assert [bucket["results"] for bucket in answer.json()["data"]].count([]) == len(
                    answer.json()["data"]
                )
