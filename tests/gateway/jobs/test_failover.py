"""When a video goes to another upstream, when it must not, and what that leaves behind."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select, update

from gateway.db import Database, now_ms
from gateway.jobs.tables import attempts, notices
from gateway.jobs.tables import slots as slot_rows
from gateway.settings import Routing
from gateway.upstreams import pauses
from gateway.upstreams.tables import pauses as pause_rows
from providers.contract import Adapter
from providers.spec import UpstreamSpec
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import PRICE, Engine, engine, upstream


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    with FakeUpstream(poll_after_ms=50) as first, FakeUpstream(poll_after_ms=50) as second:
        yield first, second


@pytest.fixture
def fakes(pair: tuple[FakeUpstream, FakeUpstream]) -> tuple[FakeUpstream, FakeUpstream]:
    for fake in pair:
        fake.reset()
    return pair


def both(fakes: tuple[FakeUpstream, FakeUpstream], **first):
    return [upstream("first", fakes[0].base_url, **first), upstream("second", fakes[1].base_url)]


async def path_of(made: Engine, video_id: str) -> list[tuple[str, str]]:
    return [(row.upstream, row.state) for row in await made.attempts(video_id)]


def metric(made: Engine, name: str, **labels: str) -> float:
    return made.ctx.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(("fault", "reason"), [("auth", "provider_auth"), ("funds", "provider_funds")])
async def test_a_refused_credential_pauses_the_upstream_and_tells_the_operator_once(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream], fault: str, reason: str
) -> None:
    async with engine(db, tmp_path, both(fakes)) as made:
        fakes[0].fault(fault, 1)
        one = await made.add()
        await made.finish(one)
        two = await made.add()
        done = await made.finish(one, two)
        assert [video.state for video in done] == ["completed", "completed"]
        assert await path_of(made, one) == [("first", "failed"), ("second", "completed")]
        assert await path_of(made, two) == [("second", "completed")]
        assert await made.notices() == [reason]
        paused = await db.read(lambda conn: conn.execute(select(pause_rows)).one())
        assert (paused.upstream, paused.reason) == ("first", reason)
        assert metric(made, "onereel_upstream_pauses_total", upstream="first", reason=reason) == 1
        assert metric(made, "onereel_failovers_total", upstream="first", reason=reason) == 1
        await db.write(lambda conn: pauses.resume(conn, "first"))
        await made.ctx.health.refresh()
        three = await made.add()
        await made.finish(three)
        assert await path_of(made, three) == [("first", "completed")]
        await made.check()


async def test_without_another_route_the_client_hears_of_no_401_and_later_videos_wait_for_the_operator(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    async with engine(db, tmp_path, both(fakes)[:1]) as made:
        fakes[0].fault("auth", 1)
        (video,) = await made.finish(await made.add())
        assert (video.error_code, video.cost_status) == ("provider_error", "released")
        assert not any(word in video.error_message for word in ("401", "402", "key", "Incorrect"))
        waiting = await made.add()
        await asyncio.sleep(0.3)
        assert ((await made.video(waiting)).state, await made.attempts(waiting)) == ("queued", [])
        long_ago = now_ms() - 901_000
        await db.write(lambda conn: conn.execute(update(pause_rows).values(paused_at=long_ago)))
        await made.ctx.health.refresh()
        (gone,) = await made.finish(await made.add())
        assert (gone.state, gone.error_code, gone.cost_status) == (
            "failed",
            "provider_unavailable",
            "released",
        )
        await db.write(lambda conn: pauses.resume(conn, "first"))
        await made.ctx.health.refresh()
        (video,) = await made.finish(waiting)
        assert video.state == "completed"
        await made.check()


async def test_an_unanswered_create_never_goes_elsewhere(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    async with engine(db, tmp_path, both(fakes), unknown_grace_seconds=0.5) as made:
        (video,) = await made.finish(await made.add("a cat [fault:ambiguous_drop]"))
        assert (video.state, video.error_code) == ("failed", "submission_unknown")
        assert await path_of(made, video.id) == [("first", "abandoned")]
        await made.check()
    assert fakes[1].stats()["jobs"] == 0


async def test_a_404_after_an_unanswered_create_sends_it_nowhere_else(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    fakes[0].config(idempotency=True)
    async with engine(db, tmp_path, both(fakes, spec={"submit_safety": "key"})) as made:
        fakes[0].fault("ambiguous_drop", 1)
        video_id = await made.add()

        async def unanswered() -> bool:
            return fakes[0].stats()["jobs"] == 1

        await made.until(unanswered)
        fakes[0].config(idempotency=False)
        fakes[0].fault("retired", 1)

        async def refused() -> bool:
            return fakes[0].stats()["calls"]["create"] == 2

        await made.until(refused)
        fakes[0].config(idempotency=True)
        (video,) = await made.finish(video_id)
        assert video.state == "completed"
        assert [name for name, _ in await path_of(made, video_id)] == ["first"]
        await made.check()
    assert fakes[0].stats()["calls"]["create"] == 3
    assert (fakes[0].stats()["jobs"], fakes[1].stats()["jobs"]) == (1, 0)


async def test_a_refusal_after_an_unanswered_create_proves_nothing(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    """The video may be there: the upstream that now refuses the credential is asked again, no other one."""
    fakes[0].config(idempotency=True)
    async with engine(db, tmp_path, both(fakes, spec={"submit_safety": "key"})) as made:
        fakes[0].fault("ambiguous_drop", 1)
        video_id = await made.add()

        async def unanswered() -> bool:
            return fakes[0].stats()["jobs"] == 1

        await made.until(unanswered)
        fakes[0].config(api_key="another")

        async def refused() -> bool:
            return await db.read(lambda conn: bool(conn.execute(select(pause_rows)).first()))

        await made.until(refused)
        assert [name for name, _ in await path_of(made, video_id)] == ["first"]
        fakes[0].config(api_key=None)
        (video,) = await made.finish(video_id)
        assert video.state == "completed"
        assert [name for name, _ in await path_of(made, video_id)] == ["first"]
        await made.check()
    assert (fakes[0].stats()["jobs"], fakes[1].stats()["jobs"]) == (1, 0)


async def test_a_lost_job_is_not_made_elsewhere(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    async with engine(db, tmp_path, both(fakes)) as made:
        (video,) = await made.finish(await made.add("a cat [fault:lost]"))
        assert (video.state, video.error_code, video.cost_status) == ("failed", "expired", "released")
        assert [name for name, _ in await path_of(made, video.id)] == ["first"]
        await made.check()
    assert (fakes[0].stats()["jobs"], fakes[1].stats()["jobs"]) == (1, 0)


async def test_the_breaker_opens_probes_with_one_video_and_closes(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    async with engine(db, tmp_path, both(fakes), run=False) as made:
        rules = Routing(failure_threshold=2, cool_down_seconds=600, longest_cool_down_seconds=600)
        made.ctx.health._rules = rules
        task = asyncio.create_task(made.runner.run())
        with FakeUpstream() as gone:
            away = gone.base_url
        present = made.ctx.catalogue.upstream("first")
        assert present is not None
        made.ctx.catalogue.add_upstream(present.model_copy(update={"base_url": away, "name": "first"}))
        made.ctx.adapter = fresh(made)
        for _ in range(2):
            await made.finish(await made.add())
        assert made.ctx.health.breaker_of("first") == "open"
        assert metric(made, "onereel_breaker_openings_total", upstream="first") == 1
        third = await made.add()
        await made.finish(third)
        assert await path_of(made, third) == [("second", "completed")]  # the first is not even asked
        made.ctx.catalogue.add_upstream(present)
        await db.write(lambda conn: conn.execute(update(slot_rows).values(paused_until=now_ms() - 1)))
        await made.ctx.health.refresh()
        assert made.ctx.health.breaker_of("first") == "half_open"
        probe = await made.add()
        await made.finish(probe)
        assert await path_of(made, probe) == [("first", "completed")]
        assert made.ctx.health.breaker_of("first") == "closed"
        await made.check()
        await made.runner.stop()
        await task


def fresh(made: Engine):
    """Adapters that follow a changed base_url."""
    from gateway.adapters import Adapters
    from providers.http import HttpDoor
    from providers.registry import build_adapter

    door = HttpDoor()
    return Adapters(lambda spec: build_adapter(spec, door))


async def test_jobs_that_end_badly_open_the_breaker_too(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    async with engine(db, tmp_path, both(fakes)) as made:
        made.ctx.health._rules = Routing(failure_threshold=2)
        fakes[0].fault("lost", 6)
        for video_id in (await made.add(), await made.add()):
            await made.finish(video_id)
            assert (await path_of(made, video_id))[0] == ("first", "failed")

        async def opened() -> bool:
            return made.ctx.health.breaker_of("first") == "open"

        await made.until(opened)
        healthy = await made.add()
        await made.finish(healthy)
        assert await path_of(made, healthy) == [("second", "completed")]


async def test_a_route_that_came_later_must_not_cost_more_than_is_held(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    dearer = {"price_per_second_usd": str(Decimal(2 * PRICE) / 1_000_000)}
    routes = [
        upstream("first", fakes[0].base_url),
        upstream("second", fakes[1].base_url, spec=dearer),
    ]
    async with engine(db, tmp_path, routes) as made:
        from billing.prices import Shape
        from gateway.videos.quoting import priced

        first = made.ctx.catalogue.find("acme/fast")[0]
        told = priced([first], Shape(Decimal(4), 1280, 720), None, "prepaid").packed
        fakes[0].fault("auth", 1)
        (video,) = await made.finish(await made.add(prices=told))
        assert (video.state, video.cost_status) == ("failed", "released")
        assert await path_of(made, video.id) == [("first", "failed")]
        await made.check()
    assert fakes[1].stats()["jobs"] == 0


async def test_the_fastest_measured_route_is_taken_where_that_is_preferred(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    fakes[0].config(run_seconds=[3, 3])
    async with engine(db, tmp_path, both(fakes)) as made:
        made.ctx.settings.routing = Routing(prefer="latency")
        await made.finish(*[await made.add() for _ in range(3)])
        made.ctx.health._medians_until = 0
        await made.ctx.health.refresh()
        assert (made.ctx.health.median_seconds("first", "fast-1") or 0) > 2.5
        # nobody knows how fast the second is: it is tried
        await made.finish(*[await made.add() for _ in range(3)])
        made.ctx.health._medians_until = 0
        await made.ctx.health.refresh()
        last = await made.add()
        await made.finish(last)
        assert await path_of(made, last) == [("second", "completed")]
        rows = await db.read(lambda conn: conn.execute(select(attempts.c.upstream)).scalars().all())
        assert sorted(rows) == ["first"] * 3 + ["second"] * 4
    assert await db.read(lambda conn: conn.execute(select(notices)).all()) == []


async def test_an_upstream_that_is_configured_wrongly_holds_nothing_up(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    wrong = {"options": {"submit_safety": "perhaps"}}
    async with engine(db, tmp_path, both(fakes, **wrong)) as made:
        (video,) = await made.finish(await made.add())
        assert (video.state, await path_of(made, video.id)) == ("completed", [("second", "completed")])
    async with engine(db, tmp_path, both(fakes, **wrong)[:1]) as made:
        (video,) = await made.finish(await made.add())
        assert (video.error_code, video.cost_status) == ("provider_error", "released")
        await made.check()


async def test_an_upstream_that_was_changed_for_the_worse_leaves_no_video_behind(
    db: Database, tmp_path: Path, fakes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    fakes[0].config(idempotency=True)
    spec = {"submit_safety": "key"}
    async with engine(db, tmp_path, both(fakes, spec=spec)[:1], unknown_grace_seconds=0.3) as made:
        fakes[0].fault("ambiguous_drop", 1)

        def refuse(_spec: UpstreamSpec) -> Adapter:
            raise ValueError("options.region is missing")

        video_id = await made.add()

        async def unanswered() -> bool:
            return fakes[0].stats()["jobs"] == 1

        await made.until(unanswered)
        made.ctx.adapter = refuse
        (video,) = await made.finish(video_id)
        assert (video.error_code, video.cost_status) == ("submission_unknown", "released")
        await made.check()
