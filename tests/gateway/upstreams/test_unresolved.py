"""What an operator decides: lost creates, notices, the cost of what nobody asked for."""

import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import Connection, select

from gateway.billing.audit import audit
from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.events import Hints
from gateway.jobs.settle import add_notice
from gateway.jobs.tables import attempts
from gateway.keys.service import operator_principal
from gateway.principal import Principal, Scope
from gateway.settings import Settings
from gateway.upstreams.unresolved import Unresolved
from providers.testing import FakeUpstream
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.server import MODEL, upstream_table

T = TypeVar("T")
OPERATOR = operator_principal()


@pytest.mark.anyio
async def test_a_notice_is_dealt_with_once(db: Database) -> None:
    unresolved = Unresolved(db, Clock(), Hints(), 900)
    await db.write(lambda conn: add_notice(conn, "provider_funds", "out of money", 1000))
    notice = (await unresolved.notices())[0]
    with pytest.raises(BadRequest):
        await unresolved.resolve(OPERATOR, notice["id"], "  ")
    nobody = Principal("org_x", "proj_x", "key_x", frozenset({Scope.ORGANIZATION}))
    with pytest.raises(Forbidden):
        await unresolved.resolve(nobody, notice["id"], "paid")
    await unresolved.resolve(OPERATOR, notice["id"], "paid the bill")
    assert await unresolved.notices() == []
    assert (await unresolved.notices(resolved=True))[0]["resolution"] == "paid the bill"
    with pytest.raises(NotFound):
        await unresolved.resolve(OPERATOR, notice["id"], "again")


def until(visit: Visit, path: str, text: str) -> str:
    for _ in range(100):
        page = visit.page(path)
        if text in page:
            return page
        time.sleep(0.1)
    raise AssertionError(f"{path} never said '{text}'")


async def problems(settings: Settings) -> list[str]:
    return [str(each) for each in await reading(settings, audit)]


async def reading(settings: Settings, question: Callable[[Connection], T]) -> T:
    database = open_database(settings, Clock())
    try:
        return await database.read(question)
    finally:
        await database.close()


def sent_and_given_up(conn: Connection) -> tuple[int, int | None]:
    row = conn.execute(select(attempts.c.sent_at, attempts.c.given_up_at)).one()
    return row.sent_at, row.given_up_at


@pytest.mark.anyio
async def test_a_lost_create_is_ended_and_what_it_cost_is_booked(database_url: str, tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        table: dict[str, Any] = tomllib.loads(upstream_table(upstream.base_url))
        settings = settings_for(tmp_path, database_url=database_url, upstreams=table["upstreams"])
        with visiting(settings) as visit:
            upstream.fault("ambiguous_drop")
            with visit.live.client() as client:
                body = {"prompt": "x", "model": MODEL, "seconds": "4"}
                video = client.post("/v1/videos", json=body).json()
                page = until(visit, "/operator/unknown", video["id"])
                assert "$0.40" in page  # held
                assert "submission unknown" in visit.page("/operator/queue").lower()
                sent, _ = await reading(settings, sent_and_given_up)
                visit.post(f"/operator/unknown/{video['id']}/end")
                ended = _ended(client, video["id"])
                assert (ended["error"]["code"], ended["cost"]["status"]) == ("submission_unknown", "released")
                visit.post(f"/operator/unknown/{video['id']}/end", status=404)
                assert (await reading(settings, sent_and_given_up))[0] == sent  # when it was sent stays true
                attempt = client.get(f"/v1/videos/{video['id']}/attempts").json()["data"][0]
                path = f"/operator/unknown/attempts/{attempt['id']}/charged"
                for bad in ("-1", "x"):
                    assert (
                        visit.post(path, {"amount_usd": bad}, status=400).json()["error"]["param"]
                        == "amount_usd"
                    )
                visit.post(path, {"amount_usd": "0.32"})
                visit.post(path, {"amount_usd": "0.40"})
                visit.post(path, {"amount_usd": "0.30"}, status=400)  # less than is booked
                again = client.get(f"/v1/videos/{video['id']}/attempts").json()["data"][0]
                assert again["cost"]["usd"] == "0.400000"
                assert (
                    client.get(f"/v1/videos/{video['id']}").json() == ended
                )  # the customer's stays as it is
            assert "$0.40" in visit.page("/operator/reconciliation")
            viewer = visit.member("viewer")
            viewer.post(f"/operator/unknown/{video['id']}/end", status=403)
        assert await problems(settings) == []


def _ended(client: httpx.Client, video_id: str) -> dict[str, Any]:
    for _ in range(100):
        video: dict[str, Any] = client.get(f"/v1/videos/{video_id}").json()
        if video["status"] == "failed":
            return video
        time.sleep(0.1)
    raise AssertionError(video)
