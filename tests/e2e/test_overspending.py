"""Two hundred creates at once against money for seven: exactly seven run, in one process or in four."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.billing.audit import audit
from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.settings import Settings
from providers.testing import FakeUpstream
from tests.server import MODEL, Server

CREATES = 200
FITS = 7
PRICE = "0.40"
GOOD = {"model": MODEL, "prompt": "a cat", "seconds": "4"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=200, run_seconds=(30, 30)) as fake:
        yield fake


def limit_money(server: Server, by: str) -> None:
    """Seven videos' worth: as a budget of the organization, or as prepaid credit."""
    worth = f"{FITS * float(PRICE) + 0.3:.2f}"
    if by == "budget":
        server.call("POST", "/v1/billing/budgets", {"amount_usd": worth, "period": "month"})
    else:
        server.call("POST", "/v1/organizations/org_default", {"billing_mode": "prepaid"})
        server.call("POST", "/v1/billing/credits", {"amount_usd": worth, "reason": "seven videos"})


async def create_all(servers: list[Server]) -> list[httpx.Response]:
    headers = {"Authorization": f"Bearer {servers[0].admin_key}"}
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60) as client:
        calls = [
            client.post(f"{servers[n % len(servers)].api_url}/videos", json=GOOD | {"prompt": f"cat {n}"})
            for n in range(CREATES)
        ]
        return list(await asyncio.gather(*calls))


def check(servers: list[Server], by: str, database_url: str, folder: Path) -> None:
    answers = asyncio.run(create_all(servers))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (FITS, CREATES - FITS)
    refused: Any = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    balance = servers[0].call("GET", "/v1/billing/balance")
    assert balance["held"] == "2.800000"
    if by == "credit":
        assert balance["available"] == "0.300000"
    assert asyncio.run(problems(database_url, folder)) == []


async def problems(database_url: str, folder: Path) -> list[str]:
    database = open_database(Settings(database_url=database_url, data_dir=folder), Clock())
    try:
        return await database.read(audit)
    finally:
        await database.close()


@pytest.mark.parametrize("by", ["budget", "credit"])
def test_exactly_seven_on_sqlite(upstream: FakeUpstream, tmp_path: Path, by: str) -> None:
    with Server(upstream=upstream, data_dir=tmp_path) as server:
        limit_money(server, by)
        check([server], by, f"sqlite:///{tmp_path / 'data' / 'onereel.db'}", tmp_path)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("by", ["budget", pytest.param("credit", marks=pytest.mark.slow)])
def test_exactly_seven_on_postgresql_with_four_processes(
    upstream: FakeUpstream, postgres_url: str, tmp_path: Path, by: str
) -> None:
    env = {"ONEREEL_DATABASE_URL": postgres_url}
    with ExitStack() as running:
        servers = [
            running.enter_context(Server(upstream=upstream, data_dir=tmp_path / str(n), env=env))
            for n in range(4)
        ]
        limit_money(servers[0], by)
        check(servers, by, postgres_url, tmp_path)
