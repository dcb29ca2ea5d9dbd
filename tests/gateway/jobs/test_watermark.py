"""The plan's terms when a video is stored: its mark, without which nothing is delivered, and its retention."""

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from billing.plans import Plan
from gateway.db import Database
from gateway.jobs import claims
from gateway.jobs.claims import Lease, LeaseLost
from gateway.jobs.context import Job
from gateway.jobs.store import store
from gateway.media.pool import MediaTools
from gateway.media.stamp import draw
from gateway.settings import Limits
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import PRICE, Engine, engine, upstream
from tests.gateway.live import live, settings_for

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as server:
        yield server


def original(fake: FakeUpstream) -> bytes:
    """The bytes of the last video that was fetched, as the upstream has them."""
    sent = next(r for r in reversed(fake.requests("GET")) if r["path"].endswith("/content"))
    url = fake.base_url.removesuffix("/v1") + sent["path"]
    return httpx.get(url, headers={"Authorization": "Bearer secret"}).raise_for_status().content


async def stored(made: Engine, video: Any) -> bytes:
    """The bytes as they are delivered."""
    return b"".join([chunk async for chunk in made.ctx.storage.stream(video.content_key)])


def shown(data: bytes, path: Path) -> np.ndarray[Any, Any]:
    """The brightness of the first frame."""
    path.write_bytes(data)
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="gray").astype(float)


def is_marked(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], text: str = "onereel") -> bool:
    """Whether it has the mark and is the same elsewhere."""
    height, width = before.shape
    stamp = draw(text, (width, height))
    assert np.abs(before - after)[: stamp.top - 16].max() < 6
    spot = np.s_[stamp.top : stamp.top + stamp.cover.shape[0], stamp.left : stamp.left + stamp.cover.shape[1]]
    return bool(np.abs(before - after)[spot].mean() > 20)


async def test_a_plan_with_watermark_delivers_marked_bytes(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add(watermark=True))
        assert (video.state, video.size, video.content_type) == ("completed", "1280x720", "video/mp4")
        assert (video.cost_status, video.cost_micros, video.duration_ms) == ("captured", 4 * PRICE, 4000)
        data, source = await stored(made, video), original(fake)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (video.content_bytes, video.content_sha256)
        assert is_marked(shown(source, tmp_path / "a"), shown(data, tmp_path / "b"))
        assert list((tmp_path / "work").iterdir()) == []
        await made.check()


async def test_a_plan_without_leaves_the_bytes_alone(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add())
        source = original(fake)
        assert await stored(made, video) == source
        assert video.content_sha256 == hashlib.sha256(source).hexdigest()


async def test_what_cannot_be_marked_is_not_delivered_and_not_charged(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        await made.ctx.media.close()
        made.ctx.media = MediaTools(Limits(video_bytes=1000))
        asked = fake.stats()["calls"]["content"]
        (video,) = await made.finish(await made.add(watermark=True))
        assert (video.state, video.error_code, video.content_key) == ("failed", "watermark_failed", None)
        assert (video.cost_status, video.cost_micros) == ("released", 0)
        assert fake.stats()["calls"]["content"] == asked + 3
        assert await made.notices() == ["watermark_failed"]
        assert await made.ctx.storage.folders("videos") == []
        assert list((tmp_path / "work").iterdir()) == []
        await made.check()
        (plain,) = await made.finish(await made.add())
        assert plain.state == "completed"


async def test_more_videos_than_turns_are_all_marked_and_hold_up_nobody(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    """Six are to be marked while every turn is taken: one that needs no mark passes them; then they get theirs."""
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)], concurrency=3) as made:
        taken = ExitStack()
        while taken.enter_context(made.ctx.media.mark_turn()):
            pass
        waiting = [await made.add(watermark=True) for _ in range(6)]

        async def all_made() -> bool:
            return all([(await made.video(i)).state == "storing" for i in waiting])

        await made.until(all_made)
        (plain,) = await made.finish(await made.add())
        assert plain.state == "completed"
        assert [(await made.video(i)).state for i in waiting] == ["storing"] * 6
        taken.close()
        for video in await made.finish(*waiting, seconds=60):
            assert video.state == "completed"
        await made.check()


async def test_a_worker_that_lost_its_lease_while_marking_puts_nothing(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        video_id = await made.add(watermark=True)
        await made.finish(video_id)
        (attempt,) = await made.attempts(video_id)
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)], run=False) as made:
        rows = claims.Loaded(await made.video(video_id), attempt)
        clock = made.ctx.clock
        lease = Lease(video_id, "video", "storing", 99, 0, clock, clock.monotonic() + 60)
        task = asyncio.create_task(store(made.ctx, Job(lease, rows)))
        marked = tmp_path / "work" / f"{video_id}-99.marked"
        async with asyncio.timeout(20):
            while not marked.exists():
                await asyncio.sleep(0.001)
        lease.lost = True
        with pytest.raises(LeaseLost):
            await task
        assert await made.ctx.storage.head(f"videos/{video_id}/content-99.mp4") is None
        assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(("days", "kept"), [(None, 30.0), (7.0, 7.0), (365.0, 365.0), (0.25, 0.25)])
async def test_the_plans_retention_holds_in_both_directions(
    db: Database, tmp_path: Path, fake: FakeUpstream, days: float | None, kept: float
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add(retention_days=days))
        assert video.expires_at - video.completed_at == kept * DAY_MS


def test_over_http_a_plan_marks_and_keeps_as_it_says(tmp_path: Path, fake: FakeUpstream) -> None:
    plan = Plan(id="unlimited", watermark=True, retention_days=2)
    settings = settings_for(
        tmp_path / "data",
        plans=(plan,),
        upstreams=(upstream("acme", fake.base_url, spec={"sizes": ["1280x720"]}),),
        media={"watermark_text": "Acme Video"},
    )
    with live(settings) as server, server.client() as operator:
        project = operator.get("/v1/organization/projects").json()["data"][0]["id"]
        key = operator.post(f"/v1/organization/projects/{project}/api_keys", json={"name": "shop"}).json()
        with server.client() as client:
            client.headers["Authorization"] = f"Bearer {key['value']}"
            body = {"model": "acme/fast", "prompt": "a cat", "seconds": "4", "size": "1280x720"}
            video = client.post("/v1/videos", json=body).raise_for_status().json()
            deadline = time.monotonic() + 20
            while video["status"] not in ("completed", "failed"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
                video = client.get(f"/v1/videos/{video['id']}").json()
            assert video["status"] == "completed"
            assert video["expires_at"] - video["completed_at"] == 2 * 86_400
            data = client.get(f"/v1/videos/{video['id']}/content").raise_for_status().content
    before, after = shown(original(fake), tmp_path / "a"), shown(data, tmp_path / "b")
    assert is_marked(before, after, "Acme Video")
