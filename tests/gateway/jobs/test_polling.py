"""Polls on a real database against a real upstream: the budget is kept, ends are seen in time, nobody is held up."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from gateway.db import Database, now_ms
from gateway.jobs.claims import take_over_everything
from gateway.jobs.tables import jobs
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import engine, upstream

BUDGET = 10.0
LIVE = 60
RUN_MS = 4_000


@pytest.fixture(scope="module")
def fake_process() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def fake(fake_process: FakeUpstream) -> FakeUpstream:
    fake_process.reset()
    return fake_process


def polls(fake: FakeUpstream) -> list[float]:
    return sorted(each["at"] for each in fake.requests("GET") if not each["path"].endswith("/content"))


async def test_the_poll_budget_is_kept_and_ends_are_seen_in_time(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    fake.config(run_seconds=[RUN_MS / 1000, RUN_MS / 1000])
    async with engine(db, tmp_path, [upstream("acme", fake.base_url, polls_per_second=BUDGET)]) as made:
        ids = [await made.add() for _ in range(LIVE)]
        await made.finish(*ids, seconds=60)
        at = polls(fake)
        for video_id in ids:
            (attempt,) = await made.attempts(video_id)
            ended = (attempt.submitted_at + RUN_MS) / 1000
            # in polls of the account, not in seconds: a busy machine is late by itself
            lag = bisect_left(at, attempt.finished_at / 1000) - bisect_left(at, ended)
            assert lag <= 1.3 * LIVE
        await made.check()
    in_five_seconds = max(bisect_left(at, moment + 5.0) - n for n, moment in enumerate(at))
    assert in_five_seconds <= 1.5 * 5 * BUDGET  # 60 videos at two seconds would like three times the budget
    assert len(at) >= 0.4 * BUDGET * (at[-1] - at[0])


async def test_polls_go_on_while_a_download_has_the_only_place(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    fake.config(run_seconds=[60.0, 60.0], body_pause_ms=500)
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)], concurrency=1) as made:
        running = await made.add()

        async def live() -> bool:
            return bool((await made.video(running)).state == "running")

        await made.until(live)
        fake.config(run_seconds=[0.0, 0.0])
        fake.fault("slow_body")
        slow = await made.add()

        async def storing() -> bool:
            return bool((await made.video(slow)).state == "storing")

        await made.until(storing)
        before = len(polls(fake))
        await asyncio.sleep(3.5)
        assert len(polls(fake)) > before
        assert (await made.video(slow)).state == "storing"
        await made.finish(slow)


async def test_polls_that_fell_due_while_nobody_ran_are_spread_at_the_start(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)], run=False) as made:

        def fill(conn: Connection) -> None:
            row = {"kind": "video", "priority": 10, "lease_until": 0, "fence": 0, "tries": 0}
            for n in range(200):
                state = "running" if n % 2 else "queued"
                conn.execute(insert(jobs).values(id=f"{n:03}", state=state, due=now_ms() - 60_000 + n, **row))

        await made.db.write(fill)
        await made.db.write(lambda conn: take_over_everything(conn, 15_000, 900_000))
        query = select(jobs.c.id, jobs.c.state, (jobs.c.due - now_ms()).label("wait_ms")).order_by(jobs.c.due)
        rows = await made.db.read(lambda conn: conn.execute(query).all())
        running = [row for row in rows if row.state == "running"]
        assert [row.id for row in running] == [f"{n:03}" for n in range(1, 200, 2)]
        assert running[-1].wait_ms - running[0].wait_ms >= 400
        assert all(row.wait_ms < 0 for row in rows if row.state == "queued")
        await made.db.write(lambda conn: conn.execute(jobs.delete()))
