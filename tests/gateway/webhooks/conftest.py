"""A project with everything its webhooks need, against real receivers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from gateway.clock import Clock
from gateway.crypto import SecretBox, new_key
from gateway.db import Database
from gateway.events import Hints
from gateway.jobs.outbox import Outbox, OutboxOptions, enqueue_video_event
from gateway.jobs.tables import outbox
from gateway.keys.tables import projects
from gateway.settings import Security, Settings
from gateway.webhooks.forms import EndpointForm
from gateway.webhooks.sending import Sender
from gateway.webhooks.service import WebhookService
from providers.http import HttpDoor
from tests.gateway.webhooks.receiver import Receiver

PROJECT = "proj_1"


@dataclass
class Shop:
    """One project of an installation whose database is `db`."""

    db: Database
    clock: Clock
    tmp_path: Path
    box: SecretBox = field(default_factory=lambda: SecretBox([new_key()]))
    hints: Hints = field(default_factory=Hints)

    def settings(self, *receivers: Receiver) -> Settings:
        hosts = tuple(receiver.host for receiver in receivers)
        return Settings(data_dir=self.tmp_path, security=Security(allowed_private_hosts=hosts))

    def door(self, *receivers: Receiver) -> HttpDoor:
        return HttpDoor(allowed_private_hosts=tuple(receiver.host for receiver in receivers))

    def service(self, *receivers: Receiver) -> WebhookService:
        return WebhookService(
            self.db,
            self.clock,
            secrets=self.box,
            sender=Sender(self.door(*receivers)),
            settings=self.settings(*receivers),
            hints=self.hints,
        )

    async def endpoint(
        self, receiver: Receiver, path: str = "/hook", project: str = PROJECT
    ) -> dict[str, Any]:
        """Register an endpoint; the answer has its secret."""
        service = self.service(receiver)
        form = EndpointForm(name="shop", url=receiver.url(path), event_types=["video.completed"])
        return await service.with_secret(project, await service.create(project, form))

    async def emit(self, video_id: str, webhook_url: str | None = None, kind: str = "video.completed") -> int:
        """Settle a video, as far as its events go."""
        now = self.clock.now_ms()

        def write(conn: Connection) -> int:
            return enqueue_video_event(
                conn,
                project_id=PROJECT,
                video_id=video_id,
                event_type=kind,
                webhook_url=webhook_url,
                now=now,
            )

        count = await self.db.write(write)
        self.hints.outbox.set()
        return count

    def outbox(
        self, *receivers: Receiver, door: HttpDoor | None = None, options: OutboxOptions | None = None
    ) -> Outbox:
        return Outbox(
            self.db,
            door or self.door(*receivers),
            clock=self.clock,
            secrets=self.box,
            settings=self.settings(*receivers),
            hints=self.hints,
            options=options or OutboxOptions(poll_seconds=0.05),
        )

    @asynccontextmanager
    async def running(
        self, *receivers: Receiver, options: OutboxOptions | None = None
    ) -> AsyncIterator[Outbox]:
        door = self.door(*receivers)
        instance = self.outbox(*receivers, door=door, options=options)
        instance._grace = 0.2
        task = asyncio.create_task(instance.run())
        try:
            yield instance
        finally:
            await instance.stop()
            await task
            await door.close()

    async def rows(self) -> list[Any]:
        return await self.db.read(lambda conn: list(conn.execute(select(outbox).order_by(outbox.c.id))))

    async def make_due(self) -> None:
        """Give what waits its next try now."""

        def write(conn: Connection) -> None:
            conn.execute(update(outbox).where(outbox.c.state == "pending").values(due=1, lease_until=0))

        await self.db.write(write)
        self.hints.outbox.set()

    async def until(self, check: Callable[[list[Any]], bool], seconds: float = 10.0) -> list[Any]:
        """Wait until the rows are as `check` wants them."""
        async with asyncio.timeout(seconds):
            while not check(rows := await self.rows()):
                await asyncio.sleep(0.02)
        return rows


@pytest.fixture
async def shop(db: Database, clock: Clock, tmp_path: Path) -> Shop:
    def write(conn: Connection) -> None:
        for name in (PROJECT, "proj_2"):
            conn.execute(
                insert(projects).values(
                    id=name, organization_id="org_1", name=name, created_at=clock.now_ms()
                )
            )

    await db.write(write)
    return Shop(db, clock, tmp_path)
