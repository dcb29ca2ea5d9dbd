"""Old videos' JSON moves to the archive, and whoever asks for it does not notice. Polls are logged, and go."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, insert, inspect, select, text

from gateway import log_months, migrate
from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.jobs.attempts import read_attempt
from gateway.jobs.poll_log import Polled, log_polls, poll_log, polls_of
from gateway.jobs.tables import attempts
from gateway.retention import Retention
from gateway.settings import Retention as RetentionSettings
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.videos import archive, lists
from gateway.videos.attempts import attempts_of
from gateway.videos.tables import videos
from tests.gateway.media_app import PROJECT, add_video

DAY = 24 * 3600 * 1000
REQUEST = {"seconds": "4", "size": "1280x720", "models": ["acme/fast"], "parameters": {"seed": 7}}


async def add_attempt(db: Database, video_id: str, n: int = 1, **values: object) -> str:
    row = {
        "id": f"att_{video_id}_{n}",
        "video_id": video_id,
        "n": n,
        "upstream": "acme",
        "upstream_model": "fast",
        "state": "completed",
        "idempotency_key": "k",
        "handle": {"id": "up-1"},
        "outputs": {"url": "https://acme.example/1.mp4"},
        "holds_key_slot": False,
        "holds_upstream_slot": False,
        "created_at": 0,
        "finished_at": 5,
        **values,
    }
    await db.write(lambda conn: conn.execute(insert(attempts).values(row)))
    return str(row["id"])


async def archived(db: Database) -> set[str]:
    return set(await db.read(lambda conn: conn.execute(select(archive.video_archive.c.id)).scalars().all()))


@pytest.fixture
def retention(db: Database, clock: Clock, tmp_path: Path) -> Retention:
    settings = Settings(retention=RetentionSettings(archive_days=30, log_days=10))
    return Retention(db, Storage(f"file://{tmp_path / 'storage'}"), clock, settings)


async def test_old_ended_videos_move_and_answer_as_before(
    db: Database, clock: Clock, retention: Retention
) -> None:
    old, now = clock.now_ms() - 31 * DAY, clock.now_ms()
    shown = {"metadata": {"a": "b"}, "warnings": [{"code": "w"}], "provenance": {"c2pa": False}}
    await add_video(db, "video_old", request=REQUEST, completed_at=old, content_key=None, **shown)
    await add_video(db, "video_young", request=REQUEST, completed_at=now - DAY)
    await add_video(db, "video_live", request=REQUEST, state="running", content_key=None)
    error = {"kind": "provider_error", "message": "no", "http_status": 500}
    first = await add_attempt(db, "video_old", state="failed", error=error, outputs=None)
    second = await add_attempt(db, "video_old", 2)
    watched = await add_attempt(db, "video_old", 3, state="running", finished_at=None)

    async def answers() -> list[object]:
        kept = [await read_attempt(db, each) for each in (first, second, watched)]
        return [
            await db.read(lambda conn: lists.find(conn, PROJECT, "video_old")),
            await db.read(lambda conn: lists.page(conn, PROJECT, after=None, limit=9, descending=True)),
            await db.read(lambda conn: attempts_of(conn, "video_old", operator=True)),
            await db.read(lambda conn: archive.request_of(conn, "video_old")),
            [(each.handle, each.outputs, each.error) for each in kept],
        ]

    before = await answers()
    await retention.sweep()
    assert await archived(db) == {"video_old"}
    raw = await db.read(
        lambda conn: conn.execute(select(videos.c.request).order_by(videos.c.id)).scalars().all()
    )
    assert raw == [REQUEST, {}, REQUEST]
    handles = select(attempts.c.handle.is_(None)).order_by(attempts.c.n)
    assert await answers() == before
    assert [bool(each) for each in await db.read(lambda conn: conn.execute(handles).scalars().all())][
        2
    ] is False
    await retention.sweep()
    assert await answers() == before
    await db.write(archive.bring_back)
    assert (await archived(db), await answers()) == (set(), before)


async def test_several_processes_and_ends_in_the_middle(db: Database, clock: Clock) -> None:
    """Every video moves once, whoever moves it; a transaction that is lost has moved nothing."""
    for n in range(60):
        await add_video(
            db, f"video_{n:02}", request={**REQUEST, "n": n}, completed_at=1000 + n // 7, content_key=None
        )

    def lost(conn: object) -> None:
        archive.move(conn, 5000, 7)  # type: ignore[arg-type]
        raise RuntimeError("the process ends here")

    async def process() -> None:
        for _ in range(12):
            with pytest.raises(RuntimeError, match="ends here"):
                await db.write(lost)
            await db.write(lambda conn: archive.move(conn, 5000, 7))

    await asyncio.gather(process(), process(), process())
    assert len(await archived(db)) == 60
    for n in (0, 31, 59):
        found = await db.read(lambda conn, n=n: archive.request_of(conn, f"video_{n:02}"))  # type: ignore[misc]
        assert found == {**REQUEST, "n": n}


async def test_a_release_without_the_archive_finds_everything_where_it_was(
    database_url: str, tmp_path: Path
) -> None:
    settings = Settings(database_url=database_url, data_dir=tmp_path)
    await migrate.ensure_schema(settings)
    db = open_database(settings, Clock())
    for n in range(3):
        await add_video(db, f"video_{n}", request={**REQUEST, "n": n}, completed_at=n)
        await add_attempt(db, f"video_{n}")
    assert await db.write(lambda conn: archive.move(conn, 5000, 2)) == 2
    await db.write(lambda conn: migrate.downgrade(conn, "0011"))
    rows = await db.read(lambda conn: conn.execute(select(videos.c.request)).scalars().all())
    assert sorted(row["n"] for row in rows) == [0, 1, 2]
    handles = await db.read(lambda conn: conn.execute(select(attempts.c.handle)).scalars().all())
    assert handles == [{"id": "up-1"}] * 3
    await db.write(migrate.upgrade)
    await db.close()


async def test_polls_are_kept_for_their_time(db: Database, clock: Clock, retention: Retention) -> None:
    now = clock.now_ms()
    await db.write(
        lambda conn: log_polls(
            conn, [Polled("a", "running", 10), Polled("b", "rate_limited", http_status=429)]
        )
    )
    old = [{"attempt_id": "a", "at": now - 11 * DAY, "outcome": "running"}] * (log_months.BATCH + 10)
    await db.write(lambda conn: conn.execute(insert(poll_log), old))
    await retention.sweep()
    polls = await db.read(lambda conn: polls_of(conn, ["a", "b", "c"]))
    found = {
        name: [(row.outcome, row.progress, row.http_status) for row in rows] for name, rows in polls.items()
    }
    left = await db.read(lambda conn: conn.execute(select(func.count()).select_from(poll_log)).scalar_one())
    assert found["b"] == [("rate_limited", None, 429)]
    assert found["c"] == []
    assert found["a"][-1] == ("running", 10, None)
    if db.dialect == "postgresql":
        assert left == 2
    else:  # SQLite deletes from the beginning: the old rows lie behind the young ones here
        assert left > 2


async def test_months_are_made_ahead_and_dropped_whole(postgres_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=postgres_url, data_dir=tmp_path)
    await migrate.ensure_schema(settings)
    db = open_database(settings, Clock())
    june, september = (int(datetime(2031, month, 15, tzinfo=UTC).timestamp() * 1000) for month in (6, 9))

    async def months() -> list[str]:
        names = await db.read(lambda conn: inspect(conn).get_table_names())
        return sorted(name.removeprefix("poll_log_") for name in names if name.startswith("poll_log_2031"))

    await db.write(lambda conn: log_months.tend(conn, june, 0))
    assert await months() == ["2031_06", "2031_07", "2031_08"]
    row = {"attempt_id": "a", "at": june, "outcome": "running"}
    await db.write(lambda conn: conn.execute(insert(poll_log).values(row)))
    assert (
        await db.read(lambda conn: conn.execute(text("SELECT count(*) FROM poll_log_2031_06")).scalar()) == 1
    )
    await db.write(lambda conn: log_months.tend(conn, september, september - 60 * DAY))
    assert await months() == ["2031_07", "2031_08", "2031_09", "2031_10", "2031_11"]
    assert await db.read(lambda conn: conn.execute(select(func.count()).select_from(poll_log)).scalar()) == 0
    await db.close()
