"""Moments between two commits: what a cancel, a lost answer, a stop or another key's job may do there."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import Connection, select, text, update
from structlog.testing import capture_logs

from gateway.db import Database, now_ms
from gateway.jobs import claims, intents, moves, slots
from gateway.jobs.claims import Lease, LeaseLost, Loaded
from gateway.jobs.completion import Completion, complete
from gateway.jobs.context import no_milestone
from gateway.jobs.settle import StoredContent
from gateway.jobs.slots import Want
from gateway.jobs.tables import attempts, jobs
from gateway.videos import removal
from gateway.videos.tables import videos
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import PRICE, Engine, engine, upstream

NOWHERE = "http://127.0.0.1:9/v1"
UPSTREAM = slots.upstream_slot("acme")
ORGANIZATION = slots.organization_slot("org_1")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as server:
        yield server


async def claimed(made: Engine) -> dict[str, Lease]:
    rows = await made.db.write(lambda conn: claims.claim(conn, "act_test", 60_000, 64))
    clock = made.ctx.clock
    return {r.id: Lease(r.id, r.kind, r.state, r.fence, r.tries, clock, clock.monotonic() + 60) for r in rows}


def intent(lease: Lease, key: str = "key_1", cap: int | None = None, room: int = 2) -> intents.Intent:
    wants = (Want(ORGANIZATION, None), Want(slots.key_slot(key), cap))
    return intents.Intent(lease, lease.job_id, (intents.Way("acme", "fast-1", room),), wants)


async def job(made: Engine, job_id: str):
    return await made.db.read(lambda conn: conn.execute(select(jobs).where(jobs.c.id == job_id)).one())


async def begin(made: Engine, *items: intents.Intent):
    return await made.db.write(lambda conn: intents.begin(conn, items))


async def test_a_video_cancelled_after_its_claim_is_not_sent(db: Database, tmp_path: Path) -> None:
    async with engine(db, tmp_path, [upstream("acme", NOWHERE)], run=False) as made:
        video_id = await made.add()
        lease = (await claimed(made))[video_id]
        await db.write(lambda conn: conn.execute(update(videos).values(cancel_requested=True)))
        for room in (2, 0):  # with a free slot, and where it would have been parked
            assert await begin(made, intent(lease, room=room)) == [None]
            row = await job(made, video_id)
            assert (row.state, row.parked_for, row.lease_until) == ("queued", None, 0)
            assert row.due is not None
        assert await made.attempts(video_id) == []
        assert await db.write(slots.verify) == []


async def test_a_wake_that_a_job_cannot_use_goes_to_the_next(db: Database, tmp_path: Path) -> None:
    async with engine(db, tmp_path, [upstream("acme", NOWHERE)], run=False) as made:
        ids = [await made.add(key_id=key) for key in ("key_2", "key_2", "key_1", "key_1", "key_2")]
        leases = await claimed(made)
        first, second, mine, mine_too, last = (leases[i] for i in ids)
        await begin(made, intent(first, "key_2"), intent(second, "key_2"))
        await begin(made, intent(mine, cap=1), intent(mine_too, cap=1), intent(last, "key_2"))
        assert [(await job(made, i)).parked_for for i in ids[2:]] == [UPSTREAM] * 3

        def ended(conn: Connection) -> None:
            conn.execute(update(attempts).values(holds_key_slot=False, holds_upstream_slot=False))
            slots.free(conn, [ORGANIZATION, slots.key_slot("key_2"), UPSTREAM] * 2)

        await db.write(ended)
        woken = await claimed(made)
        assert sorted(woken) == sorted(ids[2:4])
        sent, parked = await begin(made, intent(woken[ids[2]], cap=1), intent(woken[ids[3]], cap=1))
        assert sent is not None
        assert parked is None
        assert (await job(made, ids[3])).parked_for == slots.key_slot("key_1")
        assert list(await claimed(made)) == [ids[4]]
        assert await db.write(slots.verify) == []


async def test_a_step_whose_commit_went_through_unseen_cannot_move_the_job_back(
    db: Database, tmp_path: Path
) -> None:
    async with engine(db, tmp_path, [upstream("acme", NOWHERE)], run=False) as made:
        video_id = await made.add()
        lease = (await claimed(made))[video_id]
        await begin(made, intent(lease))  # its answer is lost: the lease still says queued
        with pytest.raises(LeaseLost):
            await db.write(lambda conn: claims.hand_on(conn, lease, state=lease.state, delay_ms=0))
        assert (await job(made, video_id)).state == "submitting"


def _busy(conn: Connection) -> None:
    """Keep every claim waiting for a moment."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
        conn.execute(text("SELECT pg_sleep(0.8)"))
    else:
        time.sleep(0.8)


async def test_a_claim_on_its_way_is_part_of_the_orderly_stop(db: Database, tmp_path: Path) -> None:
    with FakeUpstream() as gone:
        spec = upstream("acme", gone.base_url)
    async with engine(db, tmp_path, [spec], run=False) as made:
        await made.add()
        await db.write(lambda conn: conn.execute(update(jobs).values(due=now_ms() + 600)))
        task = asyncio.create_task(made.runner.run())
        await asyncio.sleep(0.4)
        busy = asyncio.create_task(db.write(_busy))
        await asyncio.sleep(0.4)  # by now the job is due and its claim waits
        await made.runner.stop()
        # taken, tried and handed on before the stop ended
        query = select(jobs.c.state, jobs.c.owner, jobs.c.fence)
        found = await db.read(lambda conn: conn.execute(query).one())
        assert tuple(found) == ("queued", None, 1)
        await asyncio.gather(busy, task)


async def test_a_pinned_route_that_refuses_for_good_is_not_asked_again(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    spec = upstream("acme", fake.base_url, spec={"needs_handle": ["remix"]})
    async with engine(db, tmp_path, [spec]) as made:
        source = await made.add()
        await made.finish(source)
        pinned = (await made.attempts(source))[0].id
        remix = await made.add("a dog [fault:auth]", operation="remix", pinned_attempt_id=pinned)
        (video,) = await made.finish(remix)
        assert (video.state, video.error_code) == ("failed", "provider_error")
        assert len(await made.attempts(video.id)) == 1
        await made.check()


async def test_two_models_of_one_upstream_model_are_one_route(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    models = [
        {"id": name, "upstream_model": "fast-1", "price_per_second_usd": "0.10"}
        for name in ("acme/a", "acme/b")
    ]
    async with engine(db, tmp_path, [upstream("acme", fake.base_url, models=models)]) as made:
        video_id = await made.add("a dog [fault:auth]", models=["acme/a", "acme/b"])
        (video,) = await made.finish(video_id)
        assert (video.state, video.error_code) == ("failed", "provider_error")
        assert len(await made.attempts(video_id)) == 1
        await made.check()


async def test_a_file_far_too_short_is_billed_and_shown_by_its_own_length(
    db: Database, tmp_path: Path
) -> None:
    async with engine(db, tmp_path, [upstream("acme", NOWHERE)], run=False) as made:
        video_id = await made.add()
        lease = (await claimed(made))[video_id]
        (attempt,) = await begin(made, intent(lease))
        await db.write(lambda conn: moves.taken(conn, [moves.Taken(lease, attempt.id, {"id": "1"}, 0, 1000)]))
        lease = (await claimed(made))[video_id]
        await db.write(lambda conn: moves.done(conn, [moves.Done(lease, attempt.id, {})]))
        (done,) = await made.attempts(video_id)
        lease.state = "storing"
        content = StoredContent("videos/1", "video/mp4", 9, "00", 1280, 720, duration_ms=2500)
        item = Completion(lease, Loaded(await made.video(video_id), done), content, 1000)
        assert await db.write(lambda conn: complete(conn, [item])) == [None]
        video = await made.video(video_id)
        assert (video.state, video.seconds, video.cost_micros) == ("completed", "2.5", 5 * PRICE // 2)
        await made.check()


async def test_an_unknown_submission_that_can_be_searched_is_adopted_at_the_end_of_its_grace(
    db: Database, tmp_path: Path
) -> None:
    """The look-up was not possible while the upstream was away; when the grace ends it is, and the video is there."""
    with FakeUpstream(poll_after_ms=50, lookup=True) as fake:
        spec = {"submit_safety": "lookup"}
        async with engine(
            db,
            tmp_path,
            [upstream("acme", fake.base_url, spec=spec)],
            max_tries=-1,
            unknown_grace_seconds=1.0,
        ) as made:
            (video,) = await made.finish(await made.add("a cat [fault:ambiguous_drop]"))
            assert (video.state, video.cost_status) == ("completed", "captured")
            await made.check()
        assert fake.stats()["jobs"] == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_clock_set_back_prolongs_no_wait_of_an_embedded_start(db: Database, tmp_path: Path) -> None:
    def set_back(conn: Connection) -> None:
        conn.execute(update(jobs).values(due=now_ms() + 3_600_000))
        conn.execute(update(attempts).values(sent_at=now_ms() + 3_600_000))

    with FakeUpstream(poll_after_ms=50) as fake:
        async with engine(db, tmp_path, [upstream("acme", fake.base_url)], unknown_grace_seconds=1.0) as made:
            video_id = await made.add("a cat [fault:ambiguous_drop]")

            async def unknown() -> bool:
                return (await made.video(video_id)).state == "submission_unknown"

            await made.until(unknown)
            await made.db.write(set_back)
            await made.db.write(lambda conn: claims.take_over_everything(conn, 15_000, 1_000))
            (video,) = await made.finish(video_id, seconds=5)
            assert (video.error_code, video.cost_status) == ("submission_unknown", "released")


@pytest.mark.parametrize("ask", [removal.cancel, removal.delete])
@pytest.mark.parametrize("moment", ["store.begin", "settle.begin"])
async def test_what_is_cancelled_before_it_is_settled_costs_nothing(
    db: Database, tmp_path: Path, fake: FakeUpstream, ask: Callable[..., Any], moment: str
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:

        async def milestone(name: str, video_id: str) -> None:
            if name == moment:
                await db.write(lambda conn: ask(conn, "proj_1", video_id))

        made.ctx.milestone = milestone
        (video,) = await made.finish(await made.add())
        assert (video.state, video.error_code, video.cost_status) == ("failed", "cancelled", "released")
        await made.check()
        assert list((tmp_path / "storage").rglob("*.mp4")) == []


async def test_a_storage_that_cannot_remove_is_no_failed_step_of_a_cancelled_video(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:

        async def milestone(name: str, video_id: str) -> None:
            if name == "settle.begin":
                (content,) = (tmp_path / "storage").rglob("*.mp4")
                content.unlink()
                content.mkdir()  # no file: it cannot be unlinked
                await db.write(lambda conn: removal.cancel(conn, "proj_1", video_id))
                made.ctx.milestone = no_milestone

        made.ctx.milestone = milestone
        with capture_logs() as logs:
            (video,) = await made.finish(await made.add())
            await made.until(lambda: logged(logs, "content_not_removed"))
        assert (video.state, video.error_code) == ("failed", "cancelled")
        assert not [each for each in logs if each["event"] == "step_failed"]
        await made.check()


async def logged(logs: Sequence[Any], event: str) -> bool:
    return any(each["event"] == event for each in logs)


class Unanswered:
    """A way to the upstream on which a connect is not answered before `open`, as behind a full backlog."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener, *self._fillers = (socket.socket() for _ in range(3))
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())

    async def open(self) -> None:
        self._listener.setblocking(False)
        self._server = await asyncio.start_server(self._carry, sock=self._listener, backlog=100)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(pumped(reader, back), pumped(there, writer))

    def close(self) -> None:
        for each in self._fillers:
            each.close()
        self._server.close()


async def pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_create_that_another_took_over_while_it_connected_is_not_sent(
    db: Database, tmp_path: Path
) -> None:
    taken = update(jobs).values(fence=jobs.c.fence + 1, owner="another", lease_until=now_ms() + 5000)
    with FakeUpstream(lookup=True, poll_after_ms=50) as searched:
        way = Unanswered(searched.port)
        spec = upstream("acme", way.base_url, spec={"submit_safety": "lookup"})
        async with engine(db, tmp_path, [spec], renew_seconds=0.2) as made:
            with capture_logs() as logs:
                video_id = await made.add()
                await made.until(lambda: in_state(made, video_id, "submitting"))
                await db.write(lambda conn: conn.execute(taken))
                await asyncio.sleep(0.6)  # so that the renewal finds it lost
                await way.open()
                await made.until(lambda: logged(logs, "lease_lost"))
            assert searched.stats()["jobs"] == 0
            (video,) = await made.finish(video_id)
            assert (video.state, searched.stats()["jobs"]) == ("completed", 1)
            await made.check()
        way.close()


async def in_state(made: Engine, video_id: str, state: str) -> bool:
    return bool((await made.video(video_id)).state == state)


async def test_a_worker_lost_between_the_last_poll_and_the_download_costs_a_second_run(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    fake.config(idempotency=True)
    async with engine(db, tmp_path, [upstream("acme", fake.base_url, type="local")]) as made:
        lost: list[str] = []

        async def milestone(name: str, video_id: str) -> None:
            if name == "store.begin" and not lost:
                (attempt,) = await made.attempts(video_id)
                lost.append(attempt.handle["id"])
                url = f"{fake.base_url}/videos/{lost[0]}"
                await asyncio.to_thread(urlopen, Request(url, method="DELETE"))

        made.ctx.milestone = milestone
        (video,) = await made.finish(await made.add())
        assert (video.state, video.cost_micros) == ("completed", 4 * PRICE)
        (attempt,) = await made.attempts(video.id)
        assert attempt.handle["id"] != lost[0]
        assert video.provenance["c2pa"] == "signed"  # what our own worker made
        await made.check()


async def test_the_attempt_that_ends_a_video_keeps_why(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        for fault, kind in (
            ("invalid", "invalid_request"),
            ("moderation", "moderation_blocked"),
            ("failed", "provider_error"),
        ):
            (video,) = await made.finish(await made.add(f"a cat [fault:{fault}]"))
            (attempt,) = await made.attempts(video.id)
            assert (attempt.state, attempt.error["kind"]) == ("failed", kind)
            assert attempt.error["message"] in video.error_message
