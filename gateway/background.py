"""What runs beside the requests: started in order, kept alive, stopped in reverse order."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

import structlog

log = structlog.get_logger(__name__)

_RESTART_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 10.0


class Runs(Protocol):
    """A part with a life of its own: `run` returns after `stop`."""

    async def run(self) -> None:
        """Work until stopped."""
        ...

    async def stop(self) -> None:
        """Finish what is begun; `run` ends."""
        ...


class Polling(ABC):
    """A part that does what is due, bit by bit, and looks again after `poll_seconds` without any."""

    def __init__(self, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    @abstractmethod
    async def once(self) -> bool:
        """Do one bit of what is due; False if nothing was."""

    async def run(self) -> None:
        """Work until `stop`; what fails is logged, and tried again after a rest."""
        self._ended.clear()
        try:
            while not self._stopping.is_set():
                try:
                    busy = await self.once()
                except Exception:
                    log.exception("background_failed", part=type(self).__name__)
                    busy = False
                if not busy:
                    await self._rest()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Begin nothing more; what is under way ends, or is left behind after a while."""
        self._stopping.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._ended.wait()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._stopping.wait()


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
