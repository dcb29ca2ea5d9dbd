"""Budget marks reach the webhook endpoints that asked for them, each once, and never hold up a create."""

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from billing.budgets import period_start, reset_marks
from billing.tables import budgets
from gateway.errors import QuotaExceeded
from gateway.jobs.tables import outbox
from gateway.keys.tables import projects
from gateway.webhooks.tables import webhook_endpoints
from tests.gateway.videos.conftest import World


async def listening(world: World, *, amount: int) -> None:
    """A project whose endpoint wants budget marks, and a budget of the organization."""
    who = world.principal
    endpoint = {
        "id": "we_1", "project_id": who.project_id, "name": "n", "url": "https://hooks.example/x",
        "event_types": ["budget.threshold_reached"], "secret": b"x", "secret_hint": "x", "updated_at": 0, "created_at": 0,
    }  # fmt: skip
    budget = {
        "id": "bud_1", "organization_id": who.organization_id, "scope": "organization",
        "scope_id": who.organization_id, "period": "month", "unit": "usd", "amount": amount, "hard": True,
        "created_at": 0,
    }  # fmt: skip

    def write(conn: Any) -> None:
        project = {"id": who.project_id, "organization_id": who.organization_id, "name": "p", "created_at": 0}
        conn.execute(insert(projects).values(project))
        conn.execute(insert(webhook_endpoints).values(endpoint))
        conn.execute(insert(budgets).values(budget))

    await world.db.write(write)


async def told(world: World) -> list[str]:
    rows = await world.db.read(lambda conn: conn.execute(select(outbox.c.body)).scalars().all())
    return sorted(row.partition('"percent":')[2].partition(",")[0] for row in rows)


async def test_every_mark_is_told_once_and_the_last_at_the_refusal(world: World) -> None:
    await listening(world, amount=1_000_000)
    await world.create()
    assert await told(world) == []
    await world.create()
    assert await told(world) == ["80"]
    for _ in range(2):
        with pytest.raises(QuotaExceeded, match="budget"):
            await world.create()
    assert await told(world) == ["100", "80"]


async def test_a_mark_told_before_does_not_fail_the_create(world: World) -> None:
    await listening(world, amount=1_000_000)
    await world.create()
    await world.create()
    start = period_start("month", world.clock.now_ms())

    def again(conn: Any) -> None:
        reset_marks(conn, "bud_1", 10**9, start)
        conn.execute(update(budgets).values(hard=False))

    await world.db.write(again)
    assert (await world.create())["status"] == "queued"
    assert await told(world) == ["100", "80"]
    await world.db.write(again)
    await world.create()
    assert await told(world) == ["100", "80"]
