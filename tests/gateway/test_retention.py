"""The sweeper: what is over goes, what is needed stays, and what fails is tried again."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.files.tables import files
from gateway.idempotency.tables import idempotency_records
from gateway.members.tables import sessions
from gateway.retention import Retention
from gateway.settings import Retention as RetentionSettings
from gateway.settings import Settings
from gateway.storage import Storage, StorageError
from gateway.videos.tables import share_links, videos
from tests.gateway.media_app import add_video

HOUR = 3600 * 1000


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path / 'storage'}")


@pytest.fixture
def retention(db: Database, storage: Storage, clock: Clock, tmp_path: Path) -> Retention:
    (tmp_path / "uploads").mkdir()
    settings = Settings(retention=RetentionSettings(sweep_seconds=0.02))
    return Retention(db, storage, clock, settings, folders=[tmp_path / "uploads"])


async def put(storage: Storage, *keys: str) -> None:
    for key in keys:
        await storage.put_bytes(key, b"x", content_type="video/mp4")


async def left(db: Database) -> set[str]:
    """Which videos still have content."""
    chosen = select(videos.c.id).where(videos.c.content_key.is_not(None))
    return set(await db.read(lambda conn: conn.execute(chosen).scalars().all()))


def way_in(hashed: str, expires_at: int) -> dict[str, object]:
    """The columns that sessions and public links have in common."""
    return {"id": hashed, "hash": hashed, "project_id": "proj_1", "created_at": 0, "expires_at": expires_at}


async def test_sessions_and_public_links_go_when_they_are_over(
    db: Database, clock: Clock, retention: Retention
) -> None:
    now = clock.now_ms()
    of_link = {
        "organization_id": "org",
        "video_id": "video_1",
        "with_prompt": False,
        "created_by": "user_1",
    }

    def write(conn: Connection) -> None:
        for name, ends in (("over", now - 25 * HOUR), ("good", now + HOUR)):
            conn.execute(insert(sessions).values({**way_in(name, ends), "user_id": "user_1", "seen_at": 0}))
            conn.execute(insert(share_links).values({**way_in(name, ends), **of_link}))

    await db.write(write)
    await retention.sweep()
    for table in (sessions, share_links):
        kept = await db.read(lambda conn, table=table: conn.execute(select(table.c.id)).scalars().all())  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        assert kept == ["good"], table.name


async def add_file(db: Database, file_id: str, **values: object) -> None:
    row = {
        "id": file_id,
        "project_id": "proj_1",
        "purpose": "vision",
        "filename": "a",
        "media_type": "image/png",
        "bytes": 1,
        "sha256": "",
        "facts": {},
        "storage_key": f"files/{file_id}",
        "created_at": 0,
        **values,
    }
    await db.write(lambda conn: conn.execute(insert(files).values(row)))


async def test_expired_content_goes_and_the_row_stays(
    db: Database, storage: Storage, clock: Clock, retention: Retention
) -> None:
    now = clock.now_ms()
    for n in range(70):  # more than one batch
        await add_video(db, f"video_old{n}", expires_at=now - 1 - n)
    await add_video(db, "video_new", expires_at=now + HOUR)
    await add_video(db, "video_deleted", deleted_at=now - 1, expires_at=now + HOUR)
    old = [f"videos/video_old3/{name}" for name in ("content.mp4", "thumbnail.webp")] + [
        "inputs/video_old3/0"
    ]
    await put(storage, *old, "videos/video_new/content.mp4", "videos/video_deleted/content.mp4")
    await retention.sweep()
    assert await left(db) == {"video_new"}
    assert [await storage.head(key) for key in [*old, "videos/video_deleted/content.mp4"]] == [None] * 4
    assert await storage.head("videos/video_new/content.mp4") is not None


async def test_a_source_stays_until_what_is_made_from_it_is_finished(
    db: Database, storage: Storage, clock: Clock, retention: Retention
) -> None:
    await add_video(db, "video_source", deleted_at=1)
    await add_video(db, "video_remix", source_video_id="video_source", state="queued", content_key=None)
    await put(storage, "videos/video_source/content.mp4")
    await retention.sweep()
    assert await left(db) == {"video_source"}
    await db.write(lambda conn: conn.execute(videos.update().values(state="failed")))
    await retention.sweep()
    assert await left(db) == set()
    assert await storage.head("videos/video_source/content.mp4") is None


async def test_what_no_video_needs_any_more_goes(
    db: Database, storage: Storage, clock: Clock, retention: Retention
) -> None:
    """Inputs of finished videos, bytes of failed ones, and of rows that never came to be; never young ones."""

    def made(hours_ago: int, n: int) -> str:
        return f"video_{clock.now_ms() - hours_ago * HOUR:012x}7{n:019x}"

    live, done, failed, lost, young = made(2, 1), made(2, 2), made(2, 3), made(2, 4), made(0, 5)
    await add_video(db, live, state="running", content_key=None)
    await add_video(db, done)
    await add_video(db, failed, state="failed", content_key=None)
    ids = [live, done, failed, lost, young]
    await put(
        storage, *(f"inputs/{each}/0" for each in ids), *(f"videos/{each}/content-1.mp4" for each in ids)
    )
    await retention.sweep()
    assert set(await storage.folders("inputs")) == {live, young}
    assert set(await storage.folders("videos")) == {live, done, young}


async def test_files(db: Database, storage: Storage, clock: Clock, retention: Retention) -> None:
    now = clock.now_ms()
    await add_file(db, "file_kept")
    await add_file(db, "file_later", expires_at=now + HOUR)
    await add_file(db, "file_over", expires_at=now - 1)
    await add_file(db, "file_arriving", deleted_at=now - 1000)
    await add_file(db, "file_crashed", deleted_at=now - 2 * HOUR)
    names = ["kept", "later", "over", "arriving", "crashed"]
    await put(storage, *(f"files/file_{name}" for name in names))
    await retention.sweep()
    rows = await db.read(lambda conn: conn.execute(select(files.c.id)).scalars().all())
    assert set(rows) == {"file_kept", "file_later", "file_arriving"}
    there = [name for name in names if await storage.head(f"files/file_{name}") is not None]
    assert there == ["kept", "later", "arriving"]


async def test_old_idempotency_records_and_temporary_files_go(
    db: Database, clock: Clock, retention: Retention, tmp_path: Path
) -> None:
    now = clock.now_ms()
    record = {
        "project_id": "p",
        "method": "POST",
        "path": "/",
        "request_hash": "",
        "status": 200,
        "response": "{}",
    }
    rows = [
        {**record, "key": "new", "created_at": now - HOUR},
        {**record, "key": "old", "created_at": now - 25 * HOUR},
    ]
    await db.write(lambda conn: conn.execute(insert(idempotency_records), rows))
    for folder in (tmp_path / "uploads", tmp_path / "storage" / ".tmp"):
        (folder / "new").write_text("")
        (folder / "old").write_text("")
        os.utime(folder / "old", (0, 0))
    await retention.sweep()
    keys = await db.read(lambda conn: conn.execute(select(idempotency_records.c.key)).scalars().all())
    assert keys == ["new"]
    for folder in (tmp_path / "uploads", tmp_path / "storage" / ".tmp"):
        assert [path.name for path in folder.iterdir()] == ["new"]


async def test_what_fails_stays_and_the_rest_goes(
    db: Database, storage: Storage, retention: Retention, tmp_path: Path
) -> None:
    """A folder where the object should be makes its removal fail, as a store that refuses would."""
    for n in range(70):
        await add_file(db, f"file_{n:02}", expires_at=1)
    stuck = tmp_path / "storage" / "files" / "file_00"
    stuck.mkdir(parents=True)
    (stuck / "inside").write_text("")
    with pytest.raises(StorageError):
        await storage.delete("files/file_00")
    await retention.sweep()
    rows = await db.read(lambda conn: conn.execute(select(files.c.id)).scalars().all())
    assert rows == ["file_00"]
    (stuck / "inside").unlink()
    stuck.rmdir()
    await retention.sweep()
    assert await db.read(lambda conn: conn.execute(select(files.c.id)).scalars().all()) == []


async def test_it_runs_again_and_again_until_stopped(db: Database, retention: Retention) -> None:
    running = asyncio.create_task(retention.run())
    for name in ("file_1", "file_2"):
        await add_file(db, name, expires_at=1)
        deadline = time.monotonic() + 5
        while await db.read(lambda conn: conn.execute(select(files.c.id)).first()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    await retention.stop()
    await asyncio.wait_for(running, 5)
