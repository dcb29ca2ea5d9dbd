"""The life of one process: what it holds, what starts before the first request, what ends after the last."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from gateway.background import Runs, running
from gateway.events import Hints
from gateway.figures import Figures
from gateway.http.health import Readiness
from gateway.keys.tokens import first_key_notice
from gateway.migrate import ensure_schema
from gateway.services import Services
from gateway.settings import Settings

log = structlog.get_logger(__name__)


class Stopping:
    """How a process goes, in order: not ready, connections closed one by one, streams ended, everything else."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self.draining = False

    def drain(self) -> None:
        """Serve on, but ask clients and load balancers to go elsewhere."""
        self.draining = True

    def close(self) -> None:
        """End what would go on for long: streams resume elsewhere."""
        self.draining = True
        self._hints.close()


@dataclass(frozen=True)
class Process:
    """The services, and what only the lifespan touches.

    `closing` are connections, the first closed last; `prepare` reads what must be known before the first request;
    `background` is in order of start.
    """

    services: Services
    closing: tuple[Callable[[], Awaitable[None]], ...]
    background: tuple[Runs, ...]
    readiness: Readiness
    figures: Figures
    prepare: Callable[[], Awaitable[None]]
    stopping: Stopping
    speaks: bool = True
    """Whether it tells the operator things: one process of a group does."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Migrate, make the first key, start what runs beside; stop in reverse order, connections last."""
        services = self.services
        async with AsyncExitStack() as stack:
            for close in self.closing:
                stack.push_async_callback(close)
            await ensure_schema(services.settings)
            _show_once(await services.keys.bootstrap())
            if self.speaks and "api" in services.settings.roles:
                _show_way_in(await services.invitations.first_visit(), services.settings)
            await self.prepare()
            for part in self.background:
                await stack.enter_async_context(running(part))
            self.readiness.begin(self.stopping)
            log.info("started", database=services.db.dialect, roles=services.settings.roles, pid=os.getpid())
            try:
                yield
            finally:
                self.stopping.close()


def _show_once(admin_key: str | None) -> None:
    """Tell the operator the first key. Not through the log: logs are kept and shipped."""
    if admin_key is not None:
        print(first_key_notice(admin_key), file=sys.stderr, flush=True)  # noqa: T201


def _show_way_in(token: str | None, settings: Settings) -> None:
    """Lead to the owner's account, at every start until there is one. Not through the log either."""
    if token is not None:
        link = f"{settings.reached_at}/invitations/{token}"
        print(f"Open this link to make the owner's account:\n\n    {link}\n", file=sys.stderr, flush=True)  # noqa: T201
