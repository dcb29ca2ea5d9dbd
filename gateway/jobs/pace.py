"""How fast jobs may go: so many requests a second to one upstream, and no faster than clients can bear."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from gateway.events import Hints

CLAIM_LIMIT: Final = 64
FEWEST: Final = 3  # so that jobs go on, however many requests come
GATHER_SECONDS: Final = 0.04
_BUSY_SECONDS: Final = 0.2
_LATE_SECONDS: Final = 0.001


class Courtesy:
    """How many jobs to begin at a time: all there is room for while no client asks for anything.

    While requests come, the event loop's own lateness decides: a loop that is late halves the number, one that
    is in time raises it.
    """

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._most = CLAIM_LIMIT

    @property
    def most(self) -> int:
        """Jobs to claim at once."""
        return self._most

    async def pause(self) -> None:
        """Let jobs gather, and measure how late the loop is."""
        before = perf_counter()
        await asyncio.sleep(GATHER_SECONDS)
        now = perf_counter()
        if now - self._hints.request_at > _BUSY_SECONDS:
            self._most = CLAIM_LIMIT
        elif now - before > GATHER_SECONDS + _LATE_SECONDS:
            self._most = max(FEWEST, self._most // 2)
        else:
            self._most = min(CLAIM_LIMIT, self._most + 1)


class Paces:
    """One pace per upstream, as reserved moments: a job that is early is put back. No configured rate, no pace."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._free_at: dict[str, float] = {}
        self._promised: dict[str, float] = {}

    def wait(self, upstream: str, per_second: float | None) -> float:
        """0 when a request may go now (and is counted), else the seconds until a moment of the job's own.

        Moments are handed out one by one: jobs that all came back at the next free one would only queue again.
        """
        if per_second is None:
            return 0.0
        now = self._monotonic()
        free_at = max(self._free_at.get(upstream, 0.0), now - 1.0)  # at most one second's worth saved up
        if free_at > now:
            moment = max(self._promised.get(upstream, 0.0), free_at)
            self._promised[upstream] = moment + 1.0 / per_second
            return moment - now
        self._free_at[upstream] = free_at + 1.0 / per_second
        return 0.0
