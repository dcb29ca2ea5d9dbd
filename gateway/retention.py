"""The sweeper: bytes whose time is over leave the storage, and what crashes left behind goes too.

Bytes first, then the row: whatever is interrupted is found and done again by the next sweep, of any process.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Connection, Select, delete, exists, or_, select, update

from gateway import log_months
from gateway.clock import Clock
from gateway.db import Database
from gateway.files.tables import files
from gateway.idempotency.service import LIFETIME_MS, purge
from gateway.members.tables import invitations, sessions
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.storage_local import remove_old_files
from gateway.videos import archive
from gateway.videos.states import LIVE
from gateway.videos.tables import share_links, videos

log = structlog.get_logger(__name__)

_BATCH: Final = 64
_STALE_SECONDS: Final = 24 * 3600.0  # no upload or download runs that long
_YOUNG_MS: Final = 3600 * 1000  # bytes that young may belong to a row that is not there yet
_ORPHANS_EVERY: Final = 24 * 3600.0  # seconds; lists every stored video
_IDS: Final = 500  # per statement
_VIDEO_ID: Final = re.compile(r"video_[0-9a-f]{32}")
_DAY_MS: Final = 24 * 3600 * 1000
_UPLOAD_MS: Final = 3600 * 1000  # a file row that long without claim on its bytes is no upload in progress


class Retention:
    """Runs a sweep every `retention.sweep_seconds`. `folders` hold temporary files of uploads and downloads."""

    def __init__(
        self,
        db: Database,
        storage: Storage,
        clock: Clock,
        settings: Settings,
        *,
        folders: Sequence[Path] = (),
    ) -> None:
        self._db = db
        self._storage = storage
        self._clock = clock
        self._settings = settings.retention
        self._pause = settings.retention.sweep_seconds
        self._folders = folders
        self._stopped = asyncio.Event()
        self._orphans_due = 0.0

    async def run(self) -> None:
        """Sweep until stopped; one failed sweep is logged and the next one tries again."""
        while not self._stopped.is_set():
            try:
                await self.sweep()
            except Exception:
                log.exception("sweep_failed")
            try:
                await asyncio.wait_for(self._stopped.wait(), self._pause)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """End `run` after the sweep in progress."""
        self._stopped.set()

    async def sweep(self) -> None:
        """Remove everything whose time is over now."""
        now = self._clock.now_ms()
        expired = await self._each(_gone_videos(now), self._remove_content)
        removed = await self._each(_gone_files(now), self._remove_file)
        await self._db.write(lambda conn: purge(conn, now - LIFETIME_MS), background=True)
        await self._db.write(lambda conn: _forget_ways_in(conn, now), background=True)
        orphans = await self._sweep_orphans(now)
        stale = await self._storage.remove_stale(_STALE_SECONDS)
        for folder in self._folders:
            stale += await asyncio.to_thread(remove_old_files, folder, _STALE_SECONDS)
        if expired or removed or orphans or stale:
            log.info("swept", videos=expired, files=removed, orphans=orphans, temporary=stale)
        await self._put_away(now)

    async def _put_away(self, now: int) -> None:
        """Move old videos' JSON to the archive and let old logs go, gently: one small transaction after another."""
        moved = logs = 0
        if self._settings.archive_days:
            before = now - round(self._settings.archive_days * _DAY_MS)
            moved = await self._in_batches(lambda conn: archive.move(conn, before), archive.BATCH)
        before_log = now - round(self._settings.log_days * _DAY_MS)
        logs = await self._in_batches(lambda conn: log_months.tend(conn, now, before_log), log_months.BATCH)
        if moved or logs:
            log.info("put_away", videos=moved, logs=logs)

    async def _in_batches(self, step: Callable[[Connection], int], batch: int) -> int:
        """Step until a batch is not full, with a pause as long as each step took."""
        done = 0
        while not self._stopped.is_set():
            began = self._clock.monotonic()
            count = await self._db.write(step, background=True)
            done += count
            if count < batch:
                break
            await asyncio.sleep(self._clock.monotonic() - began)
        return done

    async def _each(self, statement: Select[Any], remove: Callable[[Any], Awaitable[None]]) -> int:
        """Remove row by row, a batch at a time; rows that fail stay for the next sweep. How many went."""
        done = failed = 0
        while True:
            page = statement.limit(_BATCH).offset(failed)
            rows = await self._db.read(partial(_rows, page))
            results = await asyncio.gather(*(remove(row) for row in rows), return_exceptions=True)
            errors = [each for each in results if isinstance(each, Exception)]
            for error in errors[:1]:
                log.warning("sweep_incomplete", failed=len(errors), error=str(error))
            failed += len(errors)
            done += len(rows) - len(errors)
            if len(rows) < _BATCH:
                return done

    async def _sweep_orphans(self, now: int) -> int:
        """Remove inputs of finished videos each time, and once a day what failed videos have left."""
        live = videos.c.state.in_(LIVE)
        removed = await self._remove_unneeded("inputs", live, now)
        if self._clock.monotonic() >= self._orphans_due:
            removed += await self._remove_unneeded(
                "videos", or_(live, videos.c.content_key.is_not(None)), now
            )
            self._orphans_due = self._clock.monotonic() + _ORPHANS_EVERY
        return removed

    async def _remove_unneeded(self, folder: str, needed: ColumnElement[bool], now: int) -> int:
        names = [name for name in await self._storage.folders(folder) if _made_before(name, now - _YOUNG_MS)]
        removed = 0
        for start in range(0, len(names), _IDS):
            batch = names[start : start + _IDS]
            kept = await self._db.read(
                partial(_ids, select(videos.c.id).where(videos.c.id.in_(batch), needed))
            )
            for name in set(batch) - kept:
                await self._storage.delete_prefix(f"{folder}/{name}")
                removed += 1
        return removed

    async def _remove_content(self, row: Any) -> None:
        await self._storage.delete_prefix(f"videos/{row.id}")
        await self._storage.delete_prefix(f"inputs/{row.id}")
        gone = update(videos).where(videos.c.id == row.id).values(content_key=None)
        await self._db.write(lambda conn: conn.execute(gone), background=True)

    async def _remove_file(self, row: Any) -> None:
        await self._storage.delete(row.storage_key)
        gone = delete(files).where(files.c.id == row.id)
        await self._db.write(lambda conn: conn.execute(gone), background=True)


def _forget_ways_in(conn: Connection, now: int) -> None:
    """Sessions, invitations and public links that are over."""
    conn.execute(delete(sessions).where(sessions.c.expires_at <= now))
    conn.execute(delete(invitations).where(invitations.c.expires_at <= now - _DAY_MS))
    conn.execute(delete(share_links).where(share_links.c.expires_at <= now - _DAY_MS))


def _rows(statement: Select[Any], conn: Connection) -> Sequence[Any]:
    return conn.execute(statement).all()


def _ids(statement: Select[Any], conn: Connection) -> set[str]:
    return set(conn.execute(statement).scalars())


def _made_before(video_id: str, time_ms: int) -> bool:
    """Tell by the time in the id (uuid7); False for a name that is none."""
    return _VIDEO_ID.fullmatch(video_id) is not None and int(video_id[6:18], 16) < time_ms


def _gone_videos(now: int) -> Select[Any]:
    """Expired or deleted videos with bytes, except sources that an unfinished video still needs."""
    dependant = videos.alias()
    needed = exists().where(dependant.c.source_video_id == videos.c.id, dependant.c.state.in_(LIVE))
    over = or_(videos.c.expires_at <= now, videos.c.deleted_at.is_not(None))
    return (
        select(videos.c.id)
        .where(videos.c.content_key.is_not(None), over, ~needed)
        .order_by(videos.c.expires_at, videos.c.id)
    )


def _gone_files(now: int) -> Select[Any]:
    over = or_(files.c.expires_at <= now, files.c.deleted_at <= now - _UPLOAD_MS)
    return select(files.c.id, files.c.storage_key).where(over).order_by(files.c.id)
