"""No statement in the life of a video reads a table that grows with every video from end to end."""

import asyncio
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.settings import Settings
from providers.testing import FakeUpstream
from tests.bench.history import LARGE, fill, plan_of, reads_whole
from tests.gateway.live import live, settings_for
from tests.postgres import execute
from tests.server import MODEL, upstream_table

HISTORY, WAITING = 30_000, 20_000
KNOWN = {
    "sum(videos.content_bytes)": "the gauge of stored bytes, as seldom as it is slow",
    "SELECT DISTINCT jobs.parked_for": "whether someone parked was forgotten, every ten seconds",
    "SELECT jobs.state, count(*)": "the gauge of jobs by state, at a scrape",
}
"""What may read all of a table, and why."""

pytestmark = pytest.mark.timeout(180)


@contextmanager
def recorded() -> Iterator[dict[str, Any]]:
    """Every statement of this process and the parameters of its first execution."""
    seen: dict[str, Any] = {}

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        seen.setdefault(statement, parameters[0] if many else parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def live_a_life(client: httpx.Client) -> None:
    """What clients and operators ask, at least once each."""
    body: dict[str, Any] = {"model": MODEL, "prompt": "a cat", "seconds": "4", "user": "user-1"}
    made = [create(client, each, n) for n, each in enumerate([body, {**body, "n": 3}, body, body])]
    assert create(client, body, 0)["id"] == made[0]["id"]
    client.post(f"/v1/videos/{made[2]['id']}/cancel")
    wait(client, made[0]["id"])
    wait(client, made[1]["group"][-1])
    first = made[0]["id"]
    for path in (
        f"/v1/videos/{first}/content",
        f"/v1/videos/{first}/attempts",
        f"/v1/videos/{first}/events",
        "/v1/videos?limit=20",
        "/v1/videos?limit=20&order=asc",
        f"/v1/videos?limit=20&after={first}",
        "/metrics",
        "/v1/organization/usage/videos?start_time=0&group_by=model",
        "/v1/organization/costs?start_time=0",
        "/v1/billing/ledger?organization_id=org_default",
        "/v1/billing/balance",
        "/v1/organization/audit_logs",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
    client.post(f"/v1/videos/{first}/remix", json={"prompt": "a dog"})
    assert client.delete(f"/v1/videos/{first}").status_code == 200


def create(client: httpx.Client, body: dict[str, Any], n: int) -> Any:
    answer = client.post("/v1/videos", json=body, headers={"Idempotency-Key": f"plan-{n}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait(client: httpx.Client, video_id: str) -> None:
    deadline = time.monotonic() + 60
    while client.get(f"/v1/videos/{video_id}").json()["status"] not in ("completed", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def plans(url: str, statements: dict[str, Any]) -> dict[str, list[str]]:
    """The large tables that each statement reads whole, with the plan at the end."""
    database: Any = open_database(Settings(database_url=url), Clock())
    found = {}
    try:
        for statement, parameters in statements.items():
            plan = await database.read(partial(plan_of, statement=statement, parameters=parameters))
            if tables := reads_whole(plan):
                found[statement] = [*tables, plan]
    finally:
        await database.close()
    return found


def test_no_large_table_is_read_whole(postgres_url: str, tmp_path: Path) -> None:
    with FakeUpstream(poll_after_ms=50) as upstream:
        configured = tomllib.loads(upstream_table(upstream.base_url))
        settings = settings_for(tmp_path, database_url=postgres_url, **configured)
        with live(settings) as gateway, gateway.client() as client:
            asyncio.run(filled(postgres_url))
            with recorded() as statements:
                live_a_life(client)
    asked = {
        statement: parameters
        for statement, parameters in statements.items()
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH"))
    }
    assert len(asked) > 40, "too few statements were seen"
    touched = [table for table in LARGE if not any(table in statement for statement in asked)]
    assert touched == []
    whole = {
        statement: found
        for statement, found in asyncio.run(plans(postgres_url, asked)).items()
        if not any(known in statement for known in KNOWN)
    }
    assert not whole, "\n\n".join(f"{statement}\n{found[-1]}" for statement, found in whole.items())


async def filled(url: str) -> None:
    database = open_database(Settings(database_url=url), Clock())
    try:
        await fill(database, HISTORY, WAITING, asleep=True)
    finally:
        await database.close()
    execute(url, "VACUUM ANALYZE")
