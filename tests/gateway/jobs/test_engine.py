"""From accepted to settled, against every fault of the fake upstream."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from gateway.db import Database, now_ms
from gateway.jobs.tables import jobs, outbox
from gateway.upstreams.pauses import resume
from gateway.videos.tables import videos
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import PRICE, Engine, engine, upstream


@pytest.fixture(scope="module")
def fake_process() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as server:
        yield server


@pytest.fixture
def fake(fake_process: FakeUpstream) -> FakeUpstream:
    fake_process.reset()
    return fake_process


async def cancel(made: Engine, video_id: str) -> None:
    def write(conn):
        conn.execute(update(videos).where(videos.c.id == video_id).values(cancel_requested=True))
        conn.execute(update(jobs).where(jobs.c.id == video_id).values(due=now_ms(), parked_for=None))

    await made.db.write(write)
    made.ctx.hints.jobs.set()


async def test_a_video_is_made_stored_and_captured(db: Database, tmp_path: Path, fake: FakeUpstream) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        video_id = await made.add()
        (video,) = await made.finish(video_id)
        assert (video.state, video.progress, video.size) == ("completed", 100, "1280x720")
        assert (video.cost_status, video.cost_micros) == ("captured", 4 * PRICE)
        assert abs(video.duration_ms - 4000) < 200
        stored = await made.ctx.storage.head(video.content_key)
        assert stored is not None
        assert stored.size == video.content_bytes
        await made.check()
    assert list((tmp_path / "work").iterdir()) == []
    sent = next(r for r in fake.requests("POST") if r["path"] == "/v1/videos")
    assert sent["fields"]["model"] == "fast-1"
    assert sent["fields"]["seconds"] == "4"
    assert sent["fields"]["size"] == "1280x720"


RETRIED = [
    "rate_limited",
    "rate_limited_bare",
    "unknown_state",
    "truncated_poll",
    "html_502_poll",
    "drop_poll",
]
RETRIED += [
    "rate_limited_poll",
    "content_502",
    "expired_url",
    "truncated_content",
    "foreign_url",
    "slow_body",
]


@pytest.mark.parametrize("fault", RETRIED)
async def test_a_passing_fault_costs_time_and_not_the_video(
    db: Database, tmp_path: Path, fake: FakeUpstream, fault: str
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add(f"a cat [fault:{fault}]"))
        assert video.state == "completed", video.error_message
        await made.check()
    assert fake.stats()["jobs"] == 1


FINAL = {
    "failed": "provider_error",
    "moderation": "moderation_blocked",
    "moderation_submit": "moderation_blocked",
    "invalid": "invalid_request",
    "out_of_memory": "out_of_memory",
    "completed_with_error": "provider_error",
    "auth": "provider_error",
    "funds": "provider_error",
    "completed_without_video": "provider_error",
    "content_html": "provider_error",
    "private_redirect": "provider_error",
}


@pytest.mark.parametrize("fault", sorted(FINAL))
async def test_a_verdict_fails_the_video_and_costs_nothing(
    db: Database, tmp_path: Path, fake: FakeUpstream, fault: str
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add(f"a cat [fault:{fault}]"))
        assert (video.state, video.error_code) == ("failed", FINAL[fault])
        assert (video.cost_status, video.cost_micros) == ("released", 0)
        assert "secret" not in video.error_message
        await made.check()


AMBIGUOUS = ["ambiguous_drop", "ambiguous_504", "truncated_json", "html_502", "drop_before"]


@pytest.mark.parametrize("fault", AMBIGUOUS)
@pytest.mark.parametrize("safety", ["key", "lookup"])
async def test_an_ambiguous_submit_is_resolved_without_a_double(
    db: Database, tmp_path: Path, fake: FakeUpstream, fault: str, safety: str
) -> None:
    fake.config(idempotency=safety == "key", lookup=safety == "lookup")
    spec = {"submit_safety": safety}
    async with engine(db, tmp_path, [upstream("acme", fake.base_url, spec=spec)]) as made:
        (video,) = await made.finish(await made.add(f"a cat [fault:{fault}]"))
        assert video.state == "completed", video.error_message
        await made.check()
    assert fake.stats()["jobs"] == 1


async def test_without_key_or_look_up_it_is_never_sent_twice(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)], unknown_grace_seconds=1.0) as made:
        video_id = await made.add("a cat [fault:ambiguous_drop]")

        async def unknown() -> bool:
            return (await made.video(video_id)).state == "submission_unknown"

        await made.until(unknown)
        await cancel(made, video_id)  # must not cut the grace short, nor end it unresolved
        await asyncio.sleep(0.2)
        assert (await made.video(video_id)).state == "submission_unknown"
        (video,) = await made.finish(video_id)
        assert (video.state, video.error_code, video.cost_status) == (
            "failed",
            "submission_unknown",
            "released",
        )
        assert "submission_unknown" in await made.notices()
        await made.check()
    assert fake.stats()["jobs"] == 1


async def test_the_next_route_is_taken_only_after_a_clean_refusal(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    with FakeUpstream(poll_after_ms=50) as second:
        routes = [upstream("first", fake.base_url), upstream("second", second.base_url)]
        async with engine(db, tmp_path, routes) as made:
            fake.fault("auth")
            refused = await made.add("a dog")
            (video,) = await made.finish(refused)
            assert video.state == "completed"
            await made.db.write(lambda conn: resume(conn, "first"))
            await made.ctx.health.refresh()
            broken = await made.add("a dog [fault:failed]")
            await made.finish(broken)
            names = [[a.upstream for a in await made.attempts(i)] for i in (refused, broken)]
            assert names == [["first", "second"], ["first", "second"]]
            await made.check()


async def test_an_unreachable_upstream_is_waited_for(db: Database, tmp_path: Path) -> None:
    with FakeUpstream() as gone:
        spec = upstream("acme", gone.base_url)
    async with engine(db, tmp_path, [spec]) as made:
        (video,) = await made.finish(await made.add(deadline_in=1500))
        assert (video.state, video.error_code) == ("failed", "expired")
        assert len(await made.attempts(video.id)) == 1
        await made.check()


async def test_cancel_stops_it_upstream(db: Database, tmp_path: Path, fake: FakeUpstream) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        video_id = await made.add("a cat [fault:never]")

        async def running() -> bool:
            return (await made.video(video_id)).state == "running"

        await made.until(running)
        await cancel(made, video_id)
        (video,) = await made.finish(video_id)
        assert (video.state, video.error_code) == ("failed", "cancelled")
        await made.check()
    assert fake.stats()["live"] == 0


async def test_past_its_deadline_it_fails_and_the_attempt_is_watched_to_its_end(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    fake.config(run_seconds=[2.0, 2.0], cost_usd="0.25")
    spec = {"deadline_seconds": 0.7}
    async with engine(db, tmp_path, [upstream("acme", fake.base_url, max_concurrent=1, spec=spec)]) as made:
        video_id = await made.add()
        (video,) = await made.finish(video_id)
        assert (video.state, video.error_code) == ("failed", "expired")
        after = await made.add()
        await asyncio.sleep(0.3)
        assert (await made.video(after)).state == "queued"  # the slot is still taken upstream
        fake.config(run_seconds=[0.0, 0.0])
        await made.finish(after)
        (attempt,) = await made.attempts(video_id)
        assert (attempt.state, attempt.cost_micros) == ("abandoned", 250_000)
        assert (await made.video(video_id)).error_code == "expired"
        await made.check()


async def test_caps_park_jobs_and_freed_slots_wake_them(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    fake.config(run_seconds=[0.1, 0.3])
    async with engine(db, tmp_path, [upstream("acme", fake.base_url, max_concurrent=3)]) as made:
        ids = [await made.add() for _ in range(15)]
        await made.finish(*ids)
        await made.check()
    assert fake.stats()["max_live"] <= 3


async def test_a_key_runs_only_so_many_at_once(db: Database, tmp_path: Path, fake: FakeUpstream) -> None:
    fake.config(run_seconds=[0.2, 0.2])
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        ids = [await made.add(concurrent_videos=2) for _ in range(8)]
        await made.finish(*ids)
        await made.check()
    assert fake.stats()["max_live"] <= 2


async def test_a_stale_worker_commits_nothing(db: Database, tmp_path: Path, fake: FakeUpstream) -> None:
    """Another worker takes the job while this one waits for the upstream's answer."""
    fake.config(answer_delay_ms=[600, 600], idempotency=True)
    spec = {"submit_safety": "key"}
    async with engine(db, tmp_path, [upstream("acme", fake.base_url, spec=spec)]) as made:
        video_id = await made.add()

        async def submitting() -> bool:
            return (await made.video(video_id)).state == "submitting"

        await made.until(submitting)
        await made.db.write(
            lambda conn: conn.execute(update(jobs).values(fence=jobs.c.fence + 1, lease_until=0))
        )
        (video,) = await made.finish(video_id)
        assert video.state == "completed"
        await made.check()
    assert fake.stats()["jobs"] == 1


async def test_settling_writes_the_client_event_once(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        video_id = await made.add(webhook_url="https://example.com/hook")
        await made.finish(video_id)
        rows = await made.db.read(lambda conn: conn.execute(select(outbox)).all())
        assert [(r.event_type, r.video_id, r.state) for r in rows] == [
            ("video.completed", video_id, "pending")
        ]


async def test_a_broken_input_url_fails_before_anything_is_sent(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    from providers.contract import MediaRole
    from tests.gateway.jobs.bench import StoredMedia

    media = [StoredMedia(role=MediaRole.FIRST_FRAME, url="http://127.0.0.1:1/cat.png")]
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add(state="preparing", media=media))
        assert (video.state, video.error_code) == ("failed", "input_media")
        await made.check()
    assert fake.stats()["jobs"] == 0


async def test_the_route_that_delivers_sets_the_price(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    """The dearest route is held; a cheaper one that had to step in charges its own rate."""
    with FakeUpstream() as gone:
        first = upstream("first", gone.base_url)
    async with engine(db, tmp_path, [first, upstream("second", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add(rates={"second/fast-1": PRICE // 4}))
        assert (video.state, video.cost_micros, video.hold_micros) == ("completed", PRICE, 4 * PRICE)
        assert [a.upstream for a in await made.attempts(video.id)] == ["first", "second"]
        await made.check()
