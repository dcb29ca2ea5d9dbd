"""How fast jobs may go: so many requests a second to one upstream, and no faster than clients can bear."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from gateway.events import Hints
from gateway.jobs.moments import Asking, Moments
from providers.spec import UpstreamSpec

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
    """When each upstream may be asked: the calendars of this process. No configured rate, no waiting.

    Polls have a calendar of their own where the upstream has a poll budget, else they share that of its requests.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._moments: dict[tuple[str, Asking], Moments] = {}

    def submit(self, upstream: UpstreamSpec, job_id: str) -> float:
        """0 when a create may go now (and is counted), else the seconds until a moment of the job's own."""
        if upstream.requests_per_second is None:
            return 0.0
        moments = self._of(upstream.name, "submit", upstream.requests_per_second)
        return moments.turn(job_id, "submit", shared=upstream.polls_per_second is None)

    def poll(self, upstream: UpstreamSpec, job_id: str) -> float:
        """The same for a poll."""
        moments, shared = self._of_polls(upstream)
        return 0.0 if moments is None else moments.turn(job_id, "poll", shared=shared)

    def next_poll(self, upstream: UpstreamSpec, job_id: str, delay: float) -> float:
        """Seconds until the job's next poll, at least `delay`; the moment is kept for it."""
        moments, shared = self._of_polls(upstream)
        return delay if moments is None else moments.book(job_id, delay, "poll", shared=shared)

    def _of_polls(self, upstream: UpstreamSpec) -> tuple[Moments | None, bool]:
        if upstream.polls_per_second is not None:
            return self._of(upstream.name, "poll", upstream.polls_per_second), False
        if upstream.requests_per_second is not None:
            return self._of(upstream.name, "submit", upstream.requests_per_second), True
        return None, False

    def _of(self, name: str, asking: Asking, per_second: float) -> Moments:
        found = self._moments.get((name, asking))
        if found is None or found.per_second != per_second:
            found = self._moments[name, asking] = Moments(self._monotonic, per_second)
        return found
