"""A PostgreSQL that stops, comes back, or loses the answer to a commit: what callers are told, and what stands."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Connection, make_url, select
from structlog.testing import capture_logs

from gateway.clock import Clock
from gateway.db_group import DatabaseAway
from gateway.db_postgres import PostgresDatabase
from gateway.files.tables import files
from gateway.jobs.tables import slots
from providers.testing import FakeUpstream
from tests.chaos.long.outside import Postgres
from tests.conftest import create_tables
from tests.gateway.asgi import asgi_client
from tests.gateway.jobs.bench import Engine, engine, upstream
from tests.gateway.live import live, settings_for
from tests.gateway.media_app import HEADERS, media_app, settings_in
from tests.gateway.test_db import add_slot, count
from tests.postgres import create_database

Mode = Literal["fast", "immediate", "kill"]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as started:
        yield started


@contextlib.asynccontextmanager
async def opened(server: Postgres, name: str) -> AsyncIterator[PostgresDatabase]:
    url = make_url(create_database(server.uri, name)).set(drivername="postgresql+asyncpg")
    database = PostgresDatabase(url.render_as_string(hide_password=False))
    await database.write(create_tables)
    try:
        yield database
    finally:
        await database.close()


def add_slots(conn: Connection, names: Any) -> list[None]:
    for name in names:
        add_slot(name, conn)
    return [None for _ in names]


def held(name: str, conn: Connection) -> None:
    add_slot(name, conn)
    conn.exec_driver_sql("SELECT pg_sleep(60)")


async def stopped(server: Postgres, mode: Mode) -> None:
    await asyncio.to_thread(server.stop, mode)


async def back(database: PostgresDatabase) -> int:
    """What can be read once the server answers; a pool that had stale connections says so a few times at most."""
    for _ in range(100):
        with contextlib.suppress(DatabaseAway):
            return await database.read(count)
        await asyncio.sleep(0.05)
    raise AssertionError("no way back")


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
async def test_a_server_that_is_away_is_said_to_be(server: Postgres, mode: Mode) -> None:
    async with opened(server, f"away_{mode}") as database:
        await asyncio.gather(*(database.write(partial(add_slot, f"before {n}")) for n in range(6)))
        cut_off = [asyncio.create_task(database.write(partial(held, f"cut off {n}"))) for n in range(2)]
        await asyncio.sleep(0.3)
        await stopped(server, mode)
        try:
            asked = [
                *cut_off,
                *(database.write_batch(add_slots, f"batch {n}") for n in range(5)),
                *(database.write(partial(add_slot, f"alone {n}")) for n in range(5)),
                *(database.read(count) for _ in range(3)),
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await asyncio.to_thread(server.start)
        assert [type(answer) for answer in answers] == [DatabaseAway] * len(asked)
        assert await back(database) == 6
        await database.write(partial(add_slot, "after"))
        assert await database.read(count) == 7


async def test_after_a_restart_reads_replace_their_stale_connections(server: Postgres) -> None:
    async with opened(server, "stale") as database:
        await asyncio.gather(*(database.read(count) for _ in range(6)))
        await stopped(server, "fast")
        await asyncio.to_thread(server.start)
        assert await asyncio.gather(*(database.read(count) for _ in range(6))) == [0] * 6


class Forgetful:
    """Between the driver and the server: hangs up once the server has committed, before its answer goes on."""

    def __init__(self, server: Postgres) -> None:
        self._socket = str(Path(str(make_url(server.uri).query["host"]), ".s.PGSQL.5432"))
        self.forgets: bytes | None = None
        """Commits of transactions in which this was sent; empty for all."""
        self.lost = 0

    async def start(self) -> int:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1")
        return int(self._listener.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._socket)
        asked = bytearray()
        answers = asyncio.create_task(self._answer(there, writer, asked))
        while data := await reader.read(65536):
            asked += data
            back.write(data)
        answers.cancel()
        back.close()

    async def _answer(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytearray
    ) -> None:
        while data := await there.read(65536):
            if b"COMMIT" in asked:
                if self.forgets is not None and self.forgets in asked:
                    self.lost += 1
                    break
                asked.clear()
            writer.write(data)
        writer.transport.abort()

    def close(self) -> None:
        self._listener.close()


async def test_a_commit_whose_answer_is_lost_is_not_made_twice_nor_called_undone(server: Postgres) -> None:
    async with opened(server, "forgotten") as straight:
        between = Forgetful(server)
        port = await between.start()
        url = f"postgresql+asyncpg://postgres@127.0.0.1:{port}/forgotten"
        database = PostgresDatabase(url)
        try:
            await database.write(partial(add_slot, "first"))
            between.forgets = b""
            answers = await asyncio.gather(
                database.write(partial(add_slot, "alone")),
                *(database.write_batch(add_slots, f"batch {n}") for n in range(5)),
                return_exceptions=True,
            )
            between.forgets = None
            await asyncio.sleep(0.2)  # time to do it again
            kept = await straight.read(lambda conn: conn.execute(select(slots.c.name)).scalars().all())
        finally:
            await database.close()
            between.close()
    assert [type(answer) for answer in answers] == [DatabaseAway] * 6
    assert sorted(kept) == ["alone", *(f"batch {n}" for n in range(5)), "first"]
    assert between.lost == 2


async def test_a_file_whose_last_commit_was_not_answered_keeps_its_bytes(
    server: Postgres, clock: Clock, tmp_path: Path
) -> None:
    async with opened(server, "files") as straight:
        between = Forgetful(server)
        database = PostgresDatabase(f"postgresql+asyncpg://postgres@127.0.0.1:{await between.start()}/files")
        try:
            async with (
                media_app(settings_in(tmp_path, "postgresql://"), clock, database) as parts,
                asgi_client(parts.app, headers=HEADERS) as client,
            ):
                between.forgets = b"UPDATE files"  # it is a row already; this makes it visible
                sent: dict[str, Any] = {
                    "data": {"purpose": "user_data"},
                    "files": {"file": ("a.txt", b"some bytes", "text/plain")},
                    "headers": {"Idempotency-Key": "once"},
                }
                lost = await client.post("/v1/files", **sent)
                between.forgets = None
                again = await client.post("/v1/files", **sent)
                content = await client.get(f"/v1/files/{again.json()['id']}/content")
        finally:
            await database.close()
            between.close()
        rows = await straight.read(lambda conn: conn.execute(select(files.c.id)).scalars().all())
    assert (lost.status_code, lost.json()["error"]["code"], between.lost) == (503, "database_away", 1)
    assert (again.status_code, content.content) == (200, b"some bytes")
    assert rows == [again.json()["id"]]


async def test_a_job_whose_step_cannot_even_be_put_off_is_taken_up_after_its_lease(
    server: Postgres, tmp_path: Path
) -> None:
    with FakeUpstream(poll_after_ms=50, idempotency=True) as fake:
        spec = upstream("acme", fake.base_url, spec={"submit_safety": "key"})
        async with (
            opened(server, "leases") as database,
            engine(database, tmp_path, [spec], lease_seconds=2.0, renew_seconds=0.5) as made,
        ):
            begun = asyncio.Event()

            async def milestone(name: str, _video_id: str) -> None:
                if name == "settle.begin" and not begun.is_set():
                    begun.set()
                    await stopped(server, "fast")

            made.ctx.milestone = milestone
            with capture_logs() as logs:
                video_id = await made.add()
                await asyncio.wait_for(begun.wait(), 20)
                await until_logged(logs, "job_left_to_its_lease", video_id)
                await asyncio.to_thread(server.start)
                await back(database)
                await ended(made, video_id)
            video = await made.video(video_id)
            assert (video.state, len(await made.attempts(video_id))) == ("completed", 1)
            assert (fake.stats()["jobs"], fake.stats()["doubles"]) == (1, {})
            await made.check()


async def test_what_an_upstream_answered_while_the_database_was_away_is_not_lost(
    server: Postgres, tmp_path: Path
) -> None:
    """Nobody could ask such an upstream again: it knows neither a key nor a look-up."""
    with FakeUpstream(poll_after_ms=50) as fake:
        spec = upstream("acme", fake.base_url, spec={"submit_safety": "none"})
        async with (
            opened(server, "handles") as database,
            engine(database, tmp_path, [spec], lease_seconds=30.0, renew_seconds=1.0) as made,
        ):
            answered = asyncio.Event()

            async def milestone(name: str, _video_id: str) -> None:
                if name == "submit.answered":
                    await stopped(server, "immediate")
                    answered.set()

            made.ctx.milestone = milestone
            with capture_logs() as logs:
                video_id = await made.add()
                await asyncio.wait_for(answered.wait(), 20)
                await until_logged(logs, "handle_waits", video_id)
                await asyncio.to_thread(server.start)
                await back(database)
                await ended(made, video_id)
            video = await made.video(video_id)
            assert (video.state, video.error_code, fake.stats()["jobs"]) == ("completed", None, 1)
            await made.check()


async def until_logged(logs: list[Any], event: str, job_id: str) -> None:
    async with asyncio.timeout(20):
        while not any(each["event"] == event and each["job_id"] == job_id for each in logs):
            await asyncio.sleep(0.02)


async def ended(made: Engine, video_id: str) -> None:
    """A read right after the restart may still meet a stale connection."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(DatabaseAway):
                await made.finish(video_id, seconds=30)
                return


def test_an_event_stream_outlives_the_database(server: Postgres, tmp_path: Path) -> None:
    with FakeUpstream(poll_after_ms=100, run_seconds=(4.0, 4.0)) as fake:
        settings = settings_for(
            tmp_path,
            database_url=create_database(server.uri, "streamed"),
            upstreams=(upstream("acme", fake.base_url),),
        )
        with live(settings) as gateway, gateway.client() as client:
            body = {"prompt": "a cat", "model": "acme/fast"}
            video = client.post("/v1/videos", json=body).raise_for_status().json()
            with client.stream("GET", f"/v1/videos/{video['id']}/events", timeout=60) as stream:
                lines = stream.iter_lines()
                assert next(lines).startswith("id: ")
                server.stop("fast")
                server.start()
                told = [line for line in lines if line.startswith("event: ")]
    assert told[-1] == "event: video.completed"
