"""What runs beside the requests: started in order, kept alive, stopped in reverse order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

_RESTART_SECONDS = 1.0


class Runs(Protocol):
    """A part with a life of its own: `run` returns after `stop`."""

    async def run(self) -> None:
        """Work until stopped."""
        ...

    async def stop(self) -> None:
        """Finish what is begun; `run` ends."""
        ...


@asynccontextmanager
async def running(part: Runs) -> AsyncIterator[None]:
    """Run the part for the length of the block. One that breaks is logged and run again."""
    task = asyncio.create_task(_keep_running(part))
    try:
        yield
    finally:
        try:
            await part.stop()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _keep_running(part: Runs) -> None:
    name = type(part).__name__
    while True:
        try:
            await part.run()
        except Exception:
            log.exception("background_failed", part=name)
            await asyncio.sleep(_RESTART_SECONDS)
        else:
            return
