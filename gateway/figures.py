"""Gauges that are read from the database when somebody asks for metrics."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, case, func, select

from billing.stripe_tables import meter_events
from gateway.clock import Clock
from gateway.db import Database, now_ms
from gateway.files.tables import files
from gateway.jobs.backlog import Backlog, backlog
from gateway.jobs.tables import outbox
from gateway.telemetry import Metrics
from gateway.telemetry_group import SharedMetrics
from gateway.videos.tables import videos
from providers.spec import UpstreamSpec

Upstreams = Callable[[], Iterable[UpstreamSpec]]
Servers = Callable[[UpstreamSpec], Sequence[UpstreamSpec]]
Worker = Callable[[], Awaitable[bytes]]

_STORAGE_SECONDS: Final = 30.0
_STORAGE_REST: Final = 1000
"""So many times as long as the sum over every video took, until it is asked again."""


@dataclass(frozen=True, slots=True)
class _Work:
    backlog: Backlog
    outbox_pending: int
    outbox_age_ms: int
    meter_pending: int
    meter_age_ms: int


class Figures:
    """Fills the gauges; safe to ask often."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        metrics: Metrics,
        *,
        upstreams: Upstreams = tuple,
        servers: Servers = lambda upstream: [upstream],
        worker: Worker | None = None,
        shared: SharedMetrics | None = None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._metrics = metrics
        self._upstreams = upstreams
        self._servers = servers
        self._worker = worker
        self._shared = shared
        self._storage_until = float("-inf")

    async def exposition(self) -> tuple[bytes, str]:
        """Render everything as it is now, with what the siblings of this process and its worker say: the text and its
        media type."""
        await self.refresh()
        text, media_type = self._metrics.exposition()
        if self._shared is not None:
            text = self._shared.with_others(text)
        return text + (b"" if self._worker is None else await self._worker()), media_type

    async def refresh(self) -> None:
        """Read what has changed since the last time."""
        work = await self._db.read(_work)
        self._metrics.set_jobs(work.backlog.by_state, work.backlog.oldest_ms / 1000)
        self._metrics.set_outbox_pending(work.outbox_pending, work.outbox_age_ms / 1000)
        self._metrics.set_database(self._db.use())
        upstreams = list(self._upstreams())
        in_flight = {each.name: work.backlog.in_flight.get(each.name, 0) for each in upstreams}
        self._metrics.set_upstream_load(in_flight, self._most(upstreams))
        self._metrics.set_meter_events(work.meter_pending, work.meter_age_ms / 1000)
        if self._clock.monotonic() >= self._storage_until:
            began = self._clock.monotonic()
            self._storage_until = began + _STORAGE_SECONDS  # nobody asks beside this
            self._metrics.set_storage_bytes(await self._db.read(_stored_bytes))
            ended = self._clock.monotonic()
            self._storage_until = ended + max(_STORAGE_SECONDS, _STORAGE_REST * (ended - began))

    def _most(self, upstreams: Sequence[UpstreamSpec]) -> dict[str, int]:
        """How many videos each upstream may have: of a fleet, all its servers together."""
        found = {each.name: (each.max_concurrent, len(self._servers(each))) for each in upstreams}
        return {
            name: most * servers for name, (most, servers) in found.items() if most is not None and servers
        }


def _work(conn: Connection) -> _Work:
    pending = conn.execute(
        select(func.count(), now_ms() - func.min(outbox.c.due)).where(outbox.c.due > 0)
    ).one()
    unsent = case((meter_events.c.state == "pending", meter_events.c.occurred_at))
    usage = conn.execute(
        select(func.count(), now_ms() - func.min(unsent)).where(meter_events.c.due > 0)
    ).one()
    return _Work(
        backlog(conn),
        int(pending[0]),
        max(0, int(pending[1] or 0)),
        int(usage[0]),
        max(0, int(usage[1] or 0)),
    )


def _stored_bytes(conn: Connection) -> int:
    content = select(func.sum(videos.c.content_bytes)).where(videos.c.content_key.is_not(None))
    uploads = select(func.sum(files.c.bytes)).where(files.c.deleted_at.is_(None))
    return sum(int(conn.execute(each).scalar_one() or 0) for each in (content, uploads))
