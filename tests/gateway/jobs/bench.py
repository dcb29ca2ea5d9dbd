"""A job engine on a real database, a real fake upstream and real storage, without HTTP in front of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select

from billing.ledger import Hold, hold_many, open_balance
from billing.tables import entries
from billing.verify import verify as verify_ledger
from gateway.clock import Clock
from gateway.db import Database, now_ms
from gateway.events import Hints
from gateway.ids import new_id
from gateway.jobs import slots
from gateway.jobs.claims import OVERDUE
from gateway.jobs.context import JobContext, no_milestone
from gateway.jobs.pace import Paces
from gateway.jobs.runner import Runner
from gateway.jobs.tables import attempts, jobs, notices
from gateway.jobs.tables import slots as slot_rows
from gateway.media.fetch import MediaFetcher
from gateway.media.identity import SigningIdentity
from gateway.media.pool import MediaTools
from gateway.settings import Jobs, Settings
from gateway.storage import Storage
from gateway.telemetry import Metrics
from gateway.upstreams.health import Health
from gateway.upstreams.workers import Workers
from gateway.usage.ended import verify_rollups
from gateway.videos.routing import Catalogue
from gateway.videos.states import TERMINAL
from gateway.videos.stored import StoredMedia, StoredRequest
from gateway.videos.tables import videos
from providers.contract import Adapter
from providers.http import HttpDoor
from providers.registry import build_adapter
from providers.sockets import Resolver, system_addresses
from providers.spec import UpstreamSpec

PRICE = 100_000  # micro-USD a second


def upstream(name: str, base_url: str, *, model: str = "acme/fast", **changes: Any) -> UpstreamSpec:
    spec = {"id": model, "upstream_model": "fast-1", "seconds": [4, 8, 12], "price_per_second_usd": "0.10"}
    spec |= changes.pop("spec", {})
    return UpstreamSpec.model_validate(
        {"name": name, "base_url": base_url, "api_key": "secret", "models": [spec], **changes}
    )


class Engine:
    """One runner and what a test asks of it."""

    def __init__(self, ctx: JobContext) -> None:
        self.ctx = ctx
        self.db = ctx.db
        self.runner = Runner(ctx)

    async def add(self, prompt: str = "a cat", **changes: Any) -> str:
        """Accept a video as the service does: row, job and hold in one transaction."""
        video_id = new_id("video")
        request = StoredRequest(
            seconds=Decimal(4),
            size="1280x720",
            models=changes.pop("models", ["acme/fast"]),
            pinned_attempt_id=changes.pop("pinned_attempt_id", None),
            price_per_second_micros=PRICE,
            rates=changes.pop("rates", {}),
            prices=changes.pop("prices", None),
            cancel_fee_micros=changes.pop("cancel_fee_micros", 0),
            concurrent_videos=changes.pop("concurrent_videos", None),
            media=changes.pop("media", []),
            webhook_url=changes.pop("webhook_url", None),
            watermark=changes.pop("watermark", False),
            retention_days=changes.pop("retention_days", None),
        )
        deadline_in = changes.pop("deadline_in", 600_000)
        row = {
            "id": video_id,
            "organization_id": "org_1",
            "project_id": "proj_1",
            "key_id": "key_1",
            "operation": "generate",
            "model": "acme/fast",
            "prompt": prompt,
            "seconds": "4",
            "size": "1280x720",
            "request": request.model_dump(mode="json"),
            "state": "queued",
            "progress": 0,
            "version": 1,
            "cancel_requested": False,
            "created_at": self.ctx.clock.now_ms(),
            "hold_micros": 4 * PRICE,
            "cost_status": "held",
            "retry_claims": 0,
            **changes,
        }

        def write(conn: Connection) -> None:
            open_balance(conn, "org_1", "off")
            hold_many(conn, [Hold(video_id, "org_1", 4 * PRICE, row["created_at"])])
            conn.execute(insert(videos).values(**row, deadline=now_ms() + deadline_in))
            conn.execute(
                insert(jobs).values(
                    id=video_id,
                    kind="video",
                    state=row["state"],
                    priority=10,
                    due=now_ms(),
                    lease_until=0,
                    fence=0,
                    tries=0,
                )
            )

        await self.db.write(write)
        self.ctx.hints.jobs.set()
        return video_id

    async def video(self, video_id: str) -> Any:
        return await self.db.read(
            lambda conn: conn.execute(select(videos, OVERDUE).where(videos.c.id == video_id)).one()
        )

    async def attempts(self, video_id: str) -> list[Any]:
        query = select(attempts).where(attempts.c.video_id == video_id).order_by(attempts.c.n)
        return await self.db.read(lambda conn: list(conn.execute(query)))

    async def parked(self) -> dict[str, str]:
        """What each parked job waits for."""
        query = select(jobs.c.id, jobs.c.parked_for).where(jobs.c.parked_for.is_not(None))
        return await self.db.read(lambda conn: {row.id: row.parked_for for row in conn.execute(query)})

    async def notices(self) -> list[str]:
        return await self.db.read(lambda conn: list(conn.execute(select(notices.c.kind)).scalars()))

    async def until(self, check: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not await check():
                await asyncio.sleep(0.02)

    async def finish(self, *video_ids: str, seconds: float = 20) -> list[Any]:
        async def done() -> bool:
            return all([(await self.video(i)).state in TERMINAL for i in video_ids])

        await self.until(done, seconds)
        return [await self.video(i) for i in video_ids]

    async def no_jobs_left(self, seconds: float = 20) -> None:
        async def none() -> bool:
            query = select(func.count()).select_from(jobs)
            return await self.db.read(lambda conn: conn.execute(query).scalar_one()) == 0

        await self.until(none, seconds)

    async def check(self) -> None:
        """What must be true once nothing is live."""

        def read(conn: Connection) -> None:
            assert verify_ledger(conn) == []
            assert verify_rollups(conn) == []
            assert list(conn.execute(select(slot_rows.c.name).where(slot_rows.c.used != 0))) == []
            for row in conn.execute(select(videos.c.id, videos.c.state, videos.c.cost_micros)).all():
                kinds = conn.execute(
                    select(entries.c.kind).where(entries.c.subject == row.id, entries.c.kind != "cost")
                ).scalars()
                end = "capture" if row.state == "completed" or row.cost_micros else "release"
                assert sorted(kinds) == sorted(["hold", end])

        await self.no_jobs_left()
        await self.db.read(read)
        assert await self.db.write(slots.verify) == []


@asynccontextmanager
async def engine(
    db: Database,
    tmp_path: Path,
    upstreams: list[UpstreamSpec],
    *,
    run: bool = True,
    resolve: Resolver = system_addresses,
    **jobs_settings: Any,
) -> AsyncIterator[Engine]:
    settings = Settings(
        data_dir=tmp_path,
        upstreams=tuple(upstreams),
        jobs=Jobs(**{"lookup_wait_seconds": 0.3, **jobs_settings}),
    )
    allowed = tuple(u.base_url.split("/")[2].replace("127.0.0.1", "localhost") for u in upstreams)
    door = HttpDoor(allowed_private_hosts=allowed)
    adapters: dict[str, Adapter] = {}

    def adapter(spec: UpstreamSpec) -> Adapter:
        if spec.name not in adapters:
            adapters[spec.name] = build_adapter(spec, door)
        return adapters[spec.name]

    work_dir = tmp_path / "work"
    work_dir.mkdir(exist_ok=True)
    media = MediaTools(settings.limits)
    clock, metrics = Clock(), Metrics()
    catalogue, hints = Catalogue(settings), Hints()
    made = Engine(
        JobContext(
            db=db,
            clock=clock,
            storage=Storage(f"file://{tmp_path / 'storage'}"),
            media=media,
            fetcher=MediaFetcher(door),
            catalogue=catalogue,
            adapter=adapter,
            hints=hints,
            settings=settings,
            metrics=metrics,
            work_dir=work_dir,
            paces=Paces(clock.monotonic),
            health=Health(db, clock, settings.routing, metrics),
            workers=Workers(clock, catalogue, adapter, hints, resolve),
            identity=SigningIdentity(settings),
            milestone=no_milestone,
        )
    )
    task = asyncio.create_task(made.runner.run()) if run else None
    try:
        yield made
    finally:
        if task is not None:
            await made.runner.stop()
            await task
        await media.close()
        await door.close()


__all__ = ["PRICE", "Engine", "StoredMedia", "engine", "upstream"]
