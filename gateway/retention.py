"""The sweeper: bytes whose time is over leave the storage, and what crashes left behind goes too.

Bytes first, then the row: whatever is interrupted is found and done again by the next sweep, of any process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Select, delete, exists, or_, select, update

from gateway.clock import Clock
from gateway.db import Database
from gateway.files.tables import files
from gateway.idempotency.service import LIFETIME_MS, purge
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.storage_local import remove_old_files
from gateway.videos.states import LIVE
from gateway.videos.tables import videos

log = structlog.get_logger(__name__)

_BATCH: Final = 64
_STALE_SECONDS: Final = 24 * 3600.0  # no upload or download runs that long
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
        self._pause = settings.retention.sweep_seconds
        self._folders = folders
        self._stopped = asyncio.Event()

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
        stale = await self._storage.remove_stale(_STALE_SECONDS)
        for folder in self._folders:
            stale += await asyncio.to_thread(remove_old_files, folder, _STALE_SECONDS)
        if expired or removed or stale:
            log.info("swept", videos=expired, files=removed, temporary=stale)

    async def _each(self, statement: Select[Any], remove: Callable[[Any], Awaitable[None]]) -> int:
        """Remove row by row, a batch at a time; rows that fail stay for the next sweep. How many went."""
        done = failed = 0
        while True:
            page = statement.limit(_BATCH).offset(failed)
            rows = await self._db.read(lambda conn, page=page: conn.execute(page).all())  # type: ignore[misc]
            results = await asyncio.gather(*(remove(row) for row in rows), return_exceptions=True)
            errors = [each for each in results if isinstance(each, Exception)]
            for error in errors[:1]:
                log.warning("sweep_incomplete", failed=len(errors), error=str(error))
            failed += len(errors)
            done += len(rows) - len(errors)
            if len(rows) < _BATCH:
                return done

    async def _remove_content(self, row: Any) -> None:
        await self._storage.delete_prefix(f"videos/{row.id}")
        await self._storage.delete_prefix(f"inputs/{row.id}")
        gone = update(videos).where(videos.c.id == row.id).values(content_key=None)
        await self._db.write(lambda conn: conn.execute(gone), background=True)

    async def _remove_file(self, row: Any) -> None:
        await self._storage.delete(row.storage_key)
        gone = delete(files).where(files.c.id == row.id)
        await self._db.write(lambda conn: conn.execute(gone), background=True)


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
