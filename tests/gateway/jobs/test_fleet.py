"""Several workers behind one name: who gets a video, who finds it again, and who makes it when its worker is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.db import Database
from gateway.figures import Figures
from gateway.jobs.routes import seed_of
from gateway.jobs.tables import slots as slot_rows
from gateway.telemetry import Metrics
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import Engine, engine, upstream
from tests.gateway.jobs.fleet import MODEL, NAME, OTHER, TOKEN, Fleet, Worker, fleet, fleet_upstream

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@asynccontextmanager
async def gateway(db: Database, folder: Path, made: Fleet, **settings: Any) -> AsyncIterator[Engine]:
    async with engine(db, folder, [made.upstream], resolve=made.resolve, **settings) as running:
        running.ctx.settings.provenance.c2pa = "off"
        await running.ctx.workers.refresh()
        yield running


async def add(made: Engine, count: int = 1) -> list[str]:
    return [await made.add(models=[MODEL]) for _ in range(count)]


async def begun(made: Engine, *video_ids: str, state: str = "running") -> list[Any]:
    """The latest attempts, once all are there."""

    async def all_there() -> bool:
        latest = [await made.attempts(video_id) for video_id in video_ids]
        return all(rows and rows[-1].state == state for rows in latest)

    await made.until(all_there)
    return [(await made.attempts(video_id))[-1] for video_id in video_ids]


async def load_and_room(running: Engine) -> tuple[str, ...]:
    """What the metrics say that the fleet has, and may have."""
    ctx, metrics = running.ctx, Metrics()
    figures = Figures(
        ctx.db, ctx.clock, metrics, upstreams=ctx.catalogue.upstreams, servers=ctx.workers.servers
    )
    await figures.refresh()
    text = metrics.exposition()[0].decode()
    names = ("onereel_upstream_in_flight", "onereel_upstream_max_concurrent")
    return tuple(
        line.split()[-1] for name in names for line in text.splitlines() if line.startswith(name + "{")
    )


def worker_of(made: Fleet, attempt: Any) -> Worker:
    return next(each for each in made.workers if attempt.upstream == f"gpu@{each.address}")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_videos_are_spread_over_the_addresses_and_the_rest_wait_for_any_of_them(
    db: Database, tmp_path: Path
) -> None:
    async with fleet(tmp_path, [MODEL], [MODEL]) as made, gateway(db, tmp_path, made) as running:
        first = await add(running, 2)
        assert len({row.upstream for row in await begun(running, *first)}) == 2
        (waiting,) = await add(running)

        async def parked() -> bool:
            return (await running.parked()) == {waiting: "upstream:gpu"}

        await running.until(parked)
        assert await load_and_room(running) == ("2.0", "2.0")
        last = made.workers[1]
        last.engine.gate.set()
        await running.finish(waiting)
        assert [row.upstream for row in await running.attempts(waiting)] == [f"gpu@{last.address}"]
        for worker in made.workers:
            worker.engine.gate.set()
        await running.finish(*first)
        await running.check()
        names = await db.read(lambda conn: list(conn.execute(select(slot_rows.c.name)).scalars()))
        assert not [name for name in names if "@" in name]  # addresses come and go


@ONE_DATABASE
async def test_a_worker_without_the_model_gets_nothing_and_one_that_has_it_in_memory_comes_first(
    db: Database, tmp_path: Path
) -> None:
    async with fleet(tmp_path, [OTHER], [MODEL], [MODEL]) as made, gateway(db, tmp_path, made) as running:
        without, cold, warm = made.workers
        warm.engine.loaded = [MODEL]
        await running.ctx.workers.refresh()
        ids = await add(running)
        assert [row.upstream for row in await begun(running, *ids)] == [f"gpu@{warm.address}"]
        running.ctx.settings.routing.hold_out_seconds = 0.5
        (second,) = await add(running)

        async def parked() -> bool:
            return (await running.parked()) == {second: f"upstream:gpu@{warm.address}"}

        await running.until(parked)
        (attempt,) = await begun(running, second)
        assert attempt.upstream == f"gpu@{cold.address}"
        video = await running.video(second)
        assert attempt.created_at - video.created_at >= 500  # it held out for so long
        for worker in made.workers:
            worker.engine.gate.set()
        await running.finish(*ids, second)
        assert without.engine.orders == []
        await running.check()


@ONE_DATABASE
async def test_a_lost_workers_video_is_made_by_another_with_the_same_seed(
    db: Database, tmp_path: Path
) -> None:
    async with fleet(tmp_path, [MODEL], [MODEL]) as made, gateway(db, tmp_path, made) as running:
        (video_id,) = await add(running)
        (attempt,) = await begun(running, video_id)
        silent = worker_of(made, attempt)
        (other,) = (each for each in made.workers if each is not silent)
        await silent.stop()

        async def moved() -> bool:
            return [row.state for row in await running.attempts(video_id)] == ["lost", "running"]

        await running.until(moved)
        await silent.start()
        silent.engine.gate.set()
        await running.ctx.workers.refresh()
        _, second = await running.attempts(video_id)
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            await client.delete(other.url(second.handle["id"]))  # as if it had come back without its jobs
        await running.finish(video_id)
        found = [
            (row.upstream, row.state, row.error and row.error["kind"])
            for row in await running.attempts(video_id)
        ]
        assert found == [
            (f"gpu@{silent.address}", "lost", "provider_unavailable"),
            (f"gpu@{other.address}", "lost", "job_lost"),
            (f"gpu@{silent.address}", "completed", None),
        ]
        orders = [*silent.engine.orders, *other.engine.orders]
        assert [order.seed for order in orders] == [seed_of(video_id)] * 3
        await running.check()


@ONE_DATABASE
async def test_after_a_restart_the_address_that_took_it_is_asked_though_the_name_no_longer_leads_there(
    db: Database, tmp_path: Path
) -> None:
    async with fleet(tmp_path, [MODEL], [MODEL]) as made:
        async with gateway(db, tmp_path, made) as running:
            (video_id,) = await add(running)
            (attempt,) = await begun(running, video_id)
        kept = worker_of(made, attempt)
        made.addresses = [each.address for each in made.workers if each is not kept]  # it drains
        async with gateway(db, tmp_path, made) as running:
            kept.engine.gate.set()
            await running.finish(video_id)
            (attempt,) = await running.attempts(video_id)
            assert attempt.upstream == f"gpu@{kept.address}"
            await running.check()


@ONE_DATABASE
async def test_an_address_that_is_gone_and_silent_is_not_waited_for(db: Database, tmp_path: Path) -> None:
    async with fleet(tmp_path, [MODEL]) as made, gateway(db, tmp_path, made) as running:
        (video_id,) = await add(running)
        await begun(running, video_id)
        (old,) = made.workers
        await old.stop()
        new = Worker(tmp_path, "127.0.0.9", httpx.URL(made.upstream.base_url).port or 0, [MODEL])
        await new.start()
        try:
            new.engine.gate.set()
            made.addresses = [new.address]
            await running.ctx.workers.refresh()
            await running.finish(video_id)
        finally:
            await new.stop()
        last = (await running.attempts(video_id))[-1]
        assert last.upstream == f"gpu@{new.address}"
        assert {order.seed for each in (old, new) for order in each.engine.orders} == {seed_of(video_id)}
        await running.check()


@ONE_DATABASE
async def test_while_the_name_leads_nowhere_videos_wait_and_known_addresses_stay(
    db: Database, tmp_path: Path
) -> None:
    async with fleet(tmp_path, [MODEL]) as made:
        made.workers[0].engine.gate.set()
        addresses, made.addresses = made.addresses, []
        async with gateway(db, tmp_path, made) as running:
            (video_id,) = await add(running)

            async def looked_at() -> bool:
                return running.ctx.workers.nowhere(made.upstream).since > 0.2

            await running.until(looked_at)
            assert (await running.video(video_id)).state == "queued"
            assert await running.attempts(video_id) == []
            made.addresses = ["::1", *addresses]  # both families: one server
            await running.ctx.workers.refresh()
            running.ctx.hints.jobs.set()
            await running.finish(video_id)
            made.addresses = []
            await running.ctx.workers.refresh()
            assert [each.address for each in running.ctx.workers.servers(made.upstream)] == addresses
            await running.check()


def test_servers_of_model_servers_are_told_apart_and_accounts_are_not() -> None:
    worker = fleet_upstream(9100)
    assert (worker.is_fleet, worker.max_concurrent, worker.models[0].submit_safety) == (True, 2, "key")
    server = worker.at("10.0.0.5")
    assert (server.name, server.account, server.address) == ("gpu@10.0.0.5", "gpu", "10.0.0.5")
    assert server.at(None) == worker
    for wrong, said in (({"models": ["local/none"]}, "no model 'local/none'"), ({"name": "g" * 61}, "60")):
        with pytest.raises(ValueError, match=said):
            fleet_upstream(9100, **wrong)
    plain: dict[str, Any] = {"name": "a", "base_url": f"http://{NAME}/v1"}
    kinds: list[tuple[dict[str, Any], bool]] = [
        ({"options": {"dialect": "vllm_omni"}}, True),
        ({"options": {"dialect": "sglang"}}, True),
        ({"options": {"dialect": "sglang"}, "base_url": "http://10.0.0.5/v1"}, False),
        ({"options": {"dialect": "vllm_omni"}, "base_url": "http://[::1]/v1"}, False),
        ({}, False),
    ]
    assert [type(worker).model_validate(plain | each).is_fleet for each, _ in kinds] == [
        expected for _, expected in kinds
    ]


@ONE_DATABASE
async def test_a_create_that_a_dying_worker_left_unanswered_goes_to_another(
    db: Database, tmp_path: Path
) -> None:
    with FakeUpstream(poll_after_ms=50) as first, FakeUpstream(poll_after_ms=50) as second:
        pair = [
            upstream(name, fake.base_url, type="local", priority=n)
            for n, (name, fake) in enumerate((("first", first), ("second", second)))
        ]
        async with engine(db, tmp_path, pair) as running:
            first.fault("ambiguous_drop", 1)
            video_id = await running.add()

            async def unanswered() -> bool:
                return first.stats()["jobs"] == 1

            await running.until(unanswered)
            first.stop()
            (video,) = await running.finish(video_id)
            found = [(row.upstream, row.state) for row in await running.attempts(video_id)]
            assert (video.state, found) == ("completed", [("first", "lost"), ("second", "completed")])
            await running.check()
