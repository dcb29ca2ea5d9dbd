"""Which upstreams take new videos: pauses and circuit breakers, as the database has them, at most a second old."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import structlog
from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.db import Database
from gateway.jobs import breaker
from gateway.jobs.breaker import Failing, Reading
from gateway.jobs.settle import add_notice, database_now
from gateway.settings import Routing
from gateway.telemetry import Metrics
from gateway.upstreams import latency, pauses
from gateway.upstreams.pauses import Pause
from providers.contract import ProviderError
from providers.spec import account_of_server

log = structlog.get_logger(__name__)

_LATENCY_SECONDS: Final = 30.0

BreakerState = Literal["closed", "half_open", "open"]


@dataclass(frozen=True, slots=True)
class Away:
    """An upstream takes nothing now: ask again in `wait` seconds; it has been like this for `since` seconds."""

    wait: float
    since: float


@dataclass(frozen=True, slots=True)
class _Snapshot:
    readings: dict[str, Reading]
    pauses: dict[str, Pause]
    medians: dict[tuple[str, str], float] | None


class Health:
    """One process's view of every upstream, and the way outcomes get into it."""

    def __init__(self, db: Database, clock: Clock, rules: Routing, metrics: Metrics) -> None:
        self._db = db
        self._clock = clock
        self._rules = rules
        self._metrics = metrics
        self._readings: dict[str, Reading] = {}
        self._pauses: dict[str, Pause] = {}
        self._medians: dict[tuple[str, str], float] = {}
        self._read_at = clock.monotonic()
        self._medians_until = float("-inf")
        self.names: frozenset[str] = frozenset()
        """The upstreams there are, for the gauges."""

    async def refresh(self) -> None:
        """Read everything again."""
        with_medians = self._clock.monotonic() >= self._medians_until
        at = self._clock.monotonic()
        found = await self._db.read(partial(_snapshot, with_medians=with_medians))
        self._readings, self._pauses, self._read_at = found.readings, found.pauses, at
        if found.medians is not None:
            self._medians = found.medians
            self._medians_until = at + _LATENCY_SECONDS
        self._show()

    def away(self, upstream: str) -> Away | None:
        """Why it takes nothing new at the moment; None where it does."""
        passed = self._clock.monotonic() - self._read_at
        paused = self._pauses.get(upstream) or self._pauses.get(account_of_server(upstream))
        if paused is not None:
            return Away(float("inf"), paused.age_ms / 1000 + passed)
        reading = self._readings.get(upstream)
        if reading is None or not reading.opened:
            return None
        left = max(reading.paused_ms, reading.probing_ms) / 1000 - passed
        return Away(left, reading.open_for_ms / 1000 + passed) if left > 0 else None

    def pause_of(self, upstream: str) -> Pause | None:
        """The pause, None where there is none."""
        return self._pauses.get(upstream)

    def breaker_of(self, upstream: str) -> BreakerState:
        """Where its breaker stands."""
        reading = self._readings.get(upstream)
        if reading is None or not reading.opened:
            return "closed"
        passed_ms = (self._clock.monotonic() - self._read_at) * 1000
        return "open" if reading.paused_ms > passed_ms else "half_open"

    def median_seconds(self, upstream: str, upstream_model: str) -> float | None:
        """How long it takes, None where too little was measured."""
        return self._medians.get((upstream, upstream_model))

    async def failed(self, upstream: str, what: Failing) -> None:
        """A create was not answered, or a job ended without a video through the upstream's own fault."""
        opened = await self._db.write(
            lambda conn: breaker.failed(conn, upstream, what, self._rules), background=True
        )
        if opened:
            log.warning("breaker_opened", upstream=upstream, failing=what)
            self._metrics.breaker_opened(upstream)
        await self.refresh()

    async def succeeded(self, upstream: str, what: Failing) -> None:
        """What may have failed before works. Writes nothing where nothing had failed."""
        reading = self._readings.get(upstream)
        if reading is None or reading.failing != what:
            return
        closed = await self._db.write(lambda conn: breaker.succeeded(conn, upstream, what), background=True)
        if closed and reading.opened:
            log.info("breaker_closed", upstream=upstream)
        await self.refresh()

    def outdated_pauses(self, credentials: Mapping[str, str]) -> list[str]:
        """Name the upstreams that are paused for a credential which is not theirs any more (`credentials` by name)."""
        return [
            name
            for name, pause in self._pauses.items()
            if pause.credential_hash is not None
            and (credential := credentials.get(account_of_server(name))) is not None
            and pauses.hash_of(credential) != pause.credential_hash
        ]

    async def locked_out(
        self, upstream: str, credential: str, error: ProviderError, *, video_id: str, attempt_id: str
    ) -> None:
        """It refuses this credential or our money: pause it and tell the operator, once."""

        def write(conn: Connection) -> bool:
            refused = pauses.hash_of(credential)
            fresh = pauses.pause(conn, upstream, str(error.kind), error.message, refused)
            if fresh:
                message = f"upstream '{upstream}' is paused: {error.message}"
                now = database_now(conn)
                add_notice(conn, error.kind, message, now, video_id=video_id, attempt_id=attempt_id)
            return fresh

        if await self._db.write(write, background=True):
            log.error("upstream_paused", upstream=upstream, reason=error.kind, message=error.message)
            self._metrics.upstream_paused(upstream, error.kind)
        await self.refresh()

    def _show(self) -> None:
        servers = {name for name in {*self._readings, *self._pauses} if account_of_server(name) in self.names}
        states = {name: self.breaker_of(name) for name in self.names | servers}
        self._metrics.set_upstreams(states, servers & self._pauses.keys())


def _snapshot(conn: Connection, *, with_medians: bool) -> _Snapshot:
    found = latency.medians(conn) if with_medians else None
    return _Snapshot(breaker.readings(conn), pauses.all_pauses(conn), found)
