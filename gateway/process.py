"""The life of one process: what it holds, what starts before the first request, what ends after the last."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from gateway.background import Runs, running
from gateway.figures import Figures
from gateway.http.health import Readiness
from gateway.keys.tokens import first_key_notice
from gateway.migrate import ensure_schema
from gateway.services import Services

log = structlog.get_logger(__name__)


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

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Migrate, make the first key, start what runs beside; stop in reverse order, connections last."""
        services = self.services
        async with AsyncExitStack() as stack:
            for close in self.closing:
                stack.push_async_callback(close)
            await ensure_schema(services.settings)
            _show_once(await services.keys.bootstrap())
            await self.prepare()
            for part in self.background:
                await stack.enter_async_context(running(part))
            self.readiness.started = True
            log.info("started", database=services.db.dialect)
            try:
                yield
            finally:
                self.readiness.stopping = True


def _show_once(admin_key: str | None) -> None:
    """Tell the operator the first key. Not through the log: logs are kept and shipped."""
    if admin_key is not None:
        print(first_key_notice(admin_key), file=sys.stderr, flush=True)  # noqa: T201
