"""What our own workers do now, as they say themselves when an operator looks; and what waits for all upstreams."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, func, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.jobs.backlog import backlog
from gateway.jobs.tables import attempts, jobs
from gateway.upstreams.workers import Workers
from gateway.videos.routing import Catalogue
from gateway.videos.tables import videos
from providers.contract import Adapter, ProviderError, TellsWork
from providers.spec import UpstreamSpec

Json = dict[str, Any]
_PATIENCE_SECONDS: Final = 3.0
_MOST_ROWS: Final = 100


class Work:
    """For operators: it spans every organization."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        catalogue: Catalogue,
        workers: Workers,
        adapter: Callable[[UpstreamSpec], Adapter],
    ) -> None:
        self._db = db
        self._clock = clock
        self._catalogue = catalogue
        self._workers = workers
        self._adapter = adapter

    async def workers(self) -> list[Json]:
        """Ask every worker of ours; one that does not answer within three seconds is not reachable."""
        local = [
            server
            for each in self._catalogue.upstreams()
            if each.dialect == "local"
            for server in self._workers.servers(each)
        ]
        return list(await asyncio.gather(*(self._asked(server) for server in local)))

    async def queue(self) -> Json:
        """Count the jobs by state, the age of the oldest that is due, slots by upstream, and the next hundred jobs."""
        most = {each.name: each.max_concurrent for each in self._catalogue.upstreams()}
        return await self._db.read(lambda conn: _queue(conn, most))

    async def _asked(self, server: UpstreamSpec) -> Json:
        known = {"name": server.name, "address": server.address, "base_url": server.base_url}
        try:
            adapter = self._adapter(server)
            if not isinstance(adapter, TellsWork):
                return {**known, "reachable": True, "said": None}
            async with asyncio.timeout(_PATIENCE_SECONDS):
                said = await adapter.work()
        except (ProviderError, TimeoutError, ValueError):
            return {**known, "reachable": False, "said": None}
        return {**known, "reachable": True, "said": _bounded(said)}


def _bounded(said: Mapping[str, Any]) -> Json:
    """Keep what is known of a worker's answer, in the types that a page can show."""
    measured = said.get("measured")
    facts = measured if isinstance(measured, Mapping) else {}
    running = said.get("running")
    rows = [each for each in running if isinstance(each, Mapping)] if isinstance(running, list) else []
    loaded = said.get("loaded")
    return {
        "status": str(said.get("status", "unknown"))[:40],
        "device": str(facts.get("device", "unknown"))[:80],
        "memory": {
            name: value
            for name in (
                "peak_memory_bytes",
                "device_memory_bytes",
                "peak_device_memory_bytes",
                "total_device_memory_bytes",
            )
            if isinstance(value := facts.get(name), int)
        },
        "out_of_memory": facts.get("out_of_memory", 0) if isinstance(facts.get("out_of_memory"), int) else 0,
        "loaded": [str(each)[:200] for each in loaded[:50]] if isinstance(loaded, list) else [],
        "waiting": said["waiting"] if isinstance(said.get("waiting"), int) else 0,
        "running": [
            {name: each.get(name) for name in ("model", "stage", "step", "steps", "progress")}
            for each in rows[:50]
        ],
    }


def _queue(conn: Connection, most: Mapping[str, int | None]) -> Json:
    now = backlog(conn)
    parked = conn.execute(
        select(jobs.c.parked_for, func.count().label("jobs"))
        .where(jobs.c.parked_for.is_not(None))
        .group_by(jobs.c.parked_for)
        .order_by(func.count().desc())
        .limit(50)
    )
    return {
        "by_state": now.by_state,
        "oldest_seconds": now.oldest_ms // 1000,
        "parked": [{"name": row.parked_for, "jobs": int(row.jobs)} for row in parked],
        "upstreams": [
            {"name": name, "used": now.in_flight.get(name, 0), "most": most.get(name)}
            for name in sorted({*now.in_flight, *most})
        ],
        "next": _next(conn),
    }


def _next(conn: Connection) -> list[Json]:
    """The jobs that are worked on or come next, by priority and time."""
    columns = (jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.priority, jobs.c.due, jobs.c.tries)
    first = (
        select(*columns)
        .where(jobs.c.due.is_not(None))
        .order_by(jobs.c.priority, jobs.c.due)
        .limit(_MOST_ROWS)
        .subquery()
    )
    of_attempt = select(attempts.c.video_id).where(attempts.c.id == first.c.id).scalar_subquery()
    rows = conn.execute(
        select(first, func.coalesce(of_attempt, first.c.id).label("video_id")).order_by(
            first.c.priority, first.c.due
        )
    ).all()
    ids = [row.video_id for row in rows]
    found = {
        row.id: row
        for row in conn.execute(
            select(
                videos.c.id,
                videos.c.organization_id,
                videos.c.project_id,
                videos.c.model,
                videos.c.progress,
                videos.c.created_at,
            ).where(videos.c.id.in_(ids))
        )
    }
    return [_row(row, found.get(row.video_id)) for row in rows]


def _row(job: Any, video: Any) -> Json:
    return {
        "kind": job.kind,
        "state": job.state,
        "priority": job.priority,
        "due": job.due // 1000,
        "tries": job.tries,
        "video_id": job.video_id,
        "organization_id": None if video is None else video.organization_id,
        "project_id": None if video is None else video.project_id,
        "model": None if video is None else video.model,
        "progress": None if video is None else video.progress,
        "created_at": None if video is None else video.created_at // 1000,
    }
