"""The outbox: delivers client events at least once, each under its one id, in its own time."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog

from gateway.clock import Clock
from gateway.crypto import SecretBox
from gateway.db import Database
from gateway.events import Hints
from gateway.jobs.outbox_lanes import Lanes
from gateway.jobs.outbox_rows import (
    ClaimRequest,
    Delivery,
    Recorded,
    claim,
    enqueue_video_event,
    has_due,
    purge,
    record,
    release,
    take_over_everything,
)
from gateway.settings import Settings
from gateway.telemetry import Metrics
from gateway.tracing import OFF, Tracing, ours
from gateway.webhooks.sending import TIMEOUT_SECONDS, Outcome, PublicDoor, Sender

__all__ = ["Outbox", "enqueue_video_event"]

log = structlog.get_logger(__name__)

BACKOFF_SECONDS: Final = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
"""Waits between tries: nine tries in 22 hours; jitter keeps the last within 24."""

_LEASE_SECONDS: Final = 30.0  # a delivery is over in TIMEOUT_SECONDS, so leases are never renewed
_POLL_SECONDS: Final = 1.0
_GONE: Final = 410
_KEPT_MS: Final = 30 * 24 * 3_600_000  # finished rows stay this long for redelivery
_PURGE_SECONDS: Final = 3_600.0


def decide(delivery: Delivery, outcome: Outcome, jitter: Callable[[float, float], float]) -> Recorded:
    """Say what follows from one try: done, later, or never again."""
    if outcome.accepted:
        return Recorded(delivery, "delivered", outcome.detail)
    if outcome.status == _GONE or delivery.gone or delivery.tries >= len(BACKOFF_SECONDS):
        return Recorded(delivery, "dead", outcome.detail)
    wait = BACKOFF_SECONDS[delivery.tries] * jitter(0.9, 1.05)
    return Recorded(delivery, "pending", outcome.detail, retry_ms=int(wait * 1000))


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """How much at once, over all and per receiver; how often to look unasked (seconds)."""

    concurrency: int = 64
    per_origin: int = 8
    poll_seconds: float = _POLL_SECONDS


class Outbox:
    """Claims due rows, sends them, records the outcome under the fence. Any number of processes may run one."""

    def __init__(
        self,
        db: Database,
        http: PublicDoor,
        *,
        clock: Clock,
        secrets: SecretBox,
        settings: Settings,
        hints: Hints,
        options: OutboxOptions | None = None,
        metrics: Metrics | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self._db = db
        self._sender = Sender(http)
        self._clock = clock
        self._box = secrets
        self._grace = settings.jobs.shutdown_grace_seconds
        self._hints = hints
        self._tracing = tracing
        self._metrics = metrics
        self._options = options or OutboxOptions()
        self._lanes = Lanes(self._options.concurrency, self._options.per_origin)
        self._owner = uuid4().hex
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._purge_at = clock.monotonic() + _PURGE_SECONDS

    async def run(self) -> None:
        """Deliver until `stop`."""
        if self._db.dialect == "sqlite":
            waits = [int(seconds * 1000) for seconds in BACKOFF_SECONDS]
            await self._db.write(lambda conn: take_over_everything(conn, waits))
        while not self._stopping:
            self._hints.outbox.clear()
            try:
                busy = await self._start_due()
                await self._purge()
            except Exception:
                log.exception("outbox.claim_failed")
                busy = False
            if not busy and not self._stopping:
                await self._rest()

    async def stop(self) -> None:
        """Claim nothing more, let running deliveries end within the grace, drop the rest to their leases."""
        self._stopping = True
        self._hints.outbox.set()
        if self._tasks:
            _done, late = await asyncio.wait(self._tasks, timeout=self._grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._options.poll_seconds):
                await self._hints.outbox.wait()
        except TimeoutError:
            return

    async def _purge(self) -> None:
        if self._clock.monotonic() < self._purge_at:
            return
        before = self._clock.now_ms() - _KEPT_MS
        deleted = await self._db.write(lambda conn: purge(conn, before), background=True)
        self._purge_at = self._clock.monotonic() + (1.0 if deleted else _PURGE_SECONDS)

    async def _any_due(self) -> bool:
        blocked = self._lanes.blocked()
        return await self._db.read(lambda conn: has_due(conn, blocked))

    async def _start_due(self) -> bool:
        """Start what is due and has room; True if something was started, so there may be more."""
        if self._lanes.free <= 0 or not await self._any_due():
            return False
        want = ClaimRequest(
            owner=self._owner,
            lease_ms=int(_LEASE_SECONDS * 1000),
            count=self._lanes.free,
            blocked=self._lanes.blocked(),
            room=self._lanes.room(),
            room_default=self._lanes.per_origin,
            traced=self._tracing.on,
        )
        claimed_at = self._clock.monotonic()
        deliveries = await self._db.write(lambda conn: claim(conn, want, self._box), background=True)
        for delivery in deliveries:
            self._lanes.enter(delivery.origin)
            task = asyncio.create_task(self._deliver(delivery, claimed_at))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return bool(deliveries)

    async def _deliver(self, delivery: Delivery, claimed_at: float) -> None:
        outcome: Outcome | None = None
        try:
            if self._clock.monotonic() > claimed_at + _LEASE_SECONDS - TIMEOUT_SECONDS:
                await self._db.write(lambda conn: release(conn, delivery), background=True)
                return
            began = self._clock.monotonic()
            outcome = await self._try(delivery)
            recorded = decide(delivery, outcome, random.uniform)
            if self._metrics is not None:
                self._metrics.webhook(recorded.state, self._clock.monotonic() - began)
            kept = await self._db.write(lambda conn: record(conn, recorded), background=True)
            log.info(
                "outbox.delivered" if outcome.accepted else "outbox.not_delivered",
                event_id=delivery.event_id,
                origin=delivery.origin,
                state=recorded.state,
                detail=outcome.detail,
                tries=delivery.tries + 1,
                stale=not kept,
            )
        except Exception:  # the lease runs out and the row is tried again
            log.exception("outbox.delivery_lost", event_id=delivery.event_id)
        finally:
            self._lanes.leave(delivery.origin, failed=None if outcome is None else not outcome.accepted)
            self._hints.outbox.set()

    async def _try(self, delivery: Delivery) -> Outcome:
        if delivery.problem is not None:
            return Outcome(None, delivery.problem)
        with self._tracing.resumed(
            delivery.trace, "webhook", event_id=delivery.event_id, tries=delivery.tries + 1
        ) as span:
            outcome = await self._sender.send(
                delivery.url, delivery.event_id, delivery.body, delivery.secrets
            )
            span.set(ours({"outcome": "accepted" if outcome.accepted else "refused"}))
            span.set({"http.response.status_code": outcome.status})
        return outcome
