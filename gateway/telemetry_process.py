"""Metrics of the process itself: the system's view of it, its event loop, its way to the database."""

import asyncio
from typing import Final

from prometheus_client import ProcessCollector

from gateway.db import DatabaseUse
from gateway.telemetry_base import Registry

_LAG: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BEAT_SECONDS: Final = 0.5


class ProcessMetrics(Registry):
    """Saturation. The process collector reads /proc: elsewhere than on Linux it shows nothing."""

    def __init__(self) -> None:
        super().__init__()
        ProcessCollector(registry=self.registry)
        self._lag = self._histogram(
            "onereel_event_loop_lag_seconds", "How late the event loop was, asked twice a second.", _LAG
        )
        self._connections = self._gauge(
            "onereel_database_connections",
            "Connections of this process: in use, idle, and the most.",
            "state",
        )
        self._writes = self._gauge(
            "onereel_database_queue", "Writes that wait for the next group: interactive, background.", "kind"
        )

    def loop_lag(self, seconds: float) -> None:
        """Count one look at the event loop."""
        self._lag.observe(max(0.0, seconds))

    def set_database(self, use: DatabaseUse) -> None:
        """Replace what this process has of the database."""
        for state, count in (("in_use", use.in_use), ("idle", use.idle), ("most", use.most)):
            self._connections.labels(state).set(count)
        for kind, count in (("interactive", use.interactive), ("background", use.background)):
            self._writes.labels(kind).set(count)


class LoopLag:
    """Sleeps, and looks how much later than asked it wakes."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`."""
        now = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            due = now() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self._metrics.loop_lag(now() - due)

    async def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
