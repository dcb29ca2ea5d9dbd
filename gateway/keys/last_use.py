"""When a key was last used: noted at most once in five minutes per key, and never in the way of a request."""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog
from sqlalchemy import Connection, or_, select, update

from gateway.db import Database
from gateway.keys.store import AnyRow
from gateway.keys.tables import api_keys

STEP_MS: Final = 300_000
_MOST: Final = 500  # keys of one statement; the others are noted when they are read next

log = structlog.get_logger(__name__)


class LastUse:
    """Writes behind. What cannot be written is tried again with the next use."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._writing: asyncio.Task[None] | None = None

    def note(self, rows: Iterable[AnyRow], now_ms: int) -> None:
        """Remember that these keys are in use, where what is written is older than a step."""
        if self._writing is not None and not self._writing.done():
            return
        old = [row.id for row in rows if (row.last_used_at or 0) <= now_ms - STEP_MS][:_MOST]
        if old:
            self._writing = asyncio.create_task(self._write(old, now_ms))

    async def _write(self, key_ids: list[str], now_ms: int) -> None:
        try:
            await self._db.write(lambda conn: _touch(conn, key_ids, now_ms), background=True)
        except Exception as error:
            log.info("last_use_not_written", error=type(error).__name__)


def _touch(conn: Connection, key_ids: list[str], now_ms: int) -> None:
    used = api_keys.c.last_used_at
    older = or_(used.is_(None), used <= now_ms - STEP_MS)
    # skipping what another process has in hand, so that two never wait for each other
    free = select(api_keys.c.id).where(api_keys.c.id.in_(key_ids), older).with_for_update(skip_locked=True)
    conn.execute(update(api_keys).where(api_keys.c.id.in_(free)).values(last_used_at=now_ms))
