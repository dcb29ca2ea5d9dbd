"""Which processes of the installation are alive: each writes a row every few seconds.

Nothing depends on it but the share of a request limit that each API process may give out while Redis cannot count for
all of them.
"""

import os
import socket
from typing import Final

import structlog
from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from gateway.background import Polling
from gateway.db import Database, metadata, now_ms
from gateway.ids import new_id
from gateway.settings import Role
from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 5.0
ALIVE_MS: Final = 15_000
_FORGOTTEN_MS: Final = 3600 * 1000

processes = Table(
    "processes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("roles", String(40), nullable=False),  # comma-separated
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(40), nullable=False),
    Column("started_at", BigInteger, nullable=False),  # times are milliseconds since the epoch
    Column("seen_at", BigInteger, nullable=False),
)

_ALIVE: Final = processes.c.seen_at > now_ms() - ALIVE_MS


class Presence(Polling):
    """This process among the others. `api_processes` is how many serve the API, at least one."""

    def __init__(self, db: Database, roles: tuple[Role, ...], version: str, metrics: Metrics) -> None:
        super().__init__(BEAT_SECONDS)
        self.api_processes = 1
        self._db = db
        self._metrics = metrics
        self._id = new_id("act")
        self._fixed = {
            "roles": ",".join(roles),
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "version": version[:40],
        }

    async def once(self) -> bool:
        """Say that we live, and count who else does. SQLite has one process only."""
        if self._db.dialect == "postgresql":
            self.api_processes = max(1, await self._db.write(self._beat, background=True))
        self._metrics.set_api_processes(self.api_processes)
        return False

    async def stop(self) -> None:
        """Leave at once rather than by growing old."""
        await super().stop()
        if self._db.dialect == "postgresql":
            try:
                await self._db.write(
                    lambda conn: conn.execute(delete(processes).where(processes.c.id == self._id))
                )
            except Exception:
                log.warning("presence_not_withdrawn", exc_info=True)

    def _beat(self, conn: Connection) -> int:
        row = insert(processes).values(id=self._id, started_at=now_ms(), seen_at=now_ms(), **self._fixed)
        conn.execute(row.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now_ms()}))
        conn.execute(delete(processes).where(processes.c.seen_at < now_ms() - _FORGOTTEN_MS))
        count = select(func.count()).where(_ALIVE, processes.c.roles.contains("api"))
        return int(conn.execute(count).scalar_one())
