"""Sends usage to Stripe's meters: every entry once, under its own id, within Stripe's windows."""

import asyncio
from typing import Any, Final
from uuid import uuid4

import structlog
from sqlalchemy import Connection, select

from billing import meters
from billing.meters import Claimed
from billing.stripe_client import Stripe, StripeError, StripeRefused, StripeUnavailable
from billing.stripe_events import purge
from billing.stripe_tables import meter_events
from gateway.background import Polling
from gateway.clock import Clock
from gateway.db import Database
from gateway.jobs.settle import add_notice, database_now
from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)

BACKOFF_SECONDS: Final = (5, 30, 120, 600, 1_800, 3_600)
"""Waits between tries; the last is repeated until a window closes."""

_LEASE_MS: Final = 120_000  # a request is over in 20 s, also at the end of a batch
_BATCH: Final = 64  # rows
_CONCURRENCY: Final = 16  # requests
_POLL_SECONDS: Final = 2.0
_KEPT_MS: Final = 90 * 24 * 3_600_000  # events of the inbox
_PURGE_SECONDS: Final = 3_600.0


class MeterOutbox(Polling):
    """Claims due rows, sends them, records the outcome under the fence. Any number of processes may run one."""

    def __init__(self, db: Database, clock: Clock, stripe: Stripe, event_name: str, metrics: Metrics) -> None:
        super().__init__(_POLL_SECONDS)
        self._db = db
        self._clock = clock
        self._stripe = stripe
        self._event_name = event_name
        self._metrics = metrics
        self._at_once = asyncio.Semaphore(_CONCURRENCY)
        self._owner = uuid4().hex
        self._purge_at = clock.monotonic() + _PURGE_SECONDS

    async def once(self) -> bool:
        """Send one batch of what is due; False if nothing was."""
        busy = await self._send_due()
        await self._purge()
        return busy

    async def _send_due(self) -> bool:
        if not await self._db.read(_any_due):
            return False
        items = await self._db.write(
            lambda conn: meters.claim(conn, self._owner, database_now(conn), _LEASE_MS, _BATCH),
            background=True,
        )
        await asyncio.gather(*[self._send(item) for item in items])
        return bool(items)

    async def _purge(self) -> None:
        if self._clock.monotonic() < self._purge_at:
            return
        before = self._clock.now_ms() - _KEPT_MS
        deleted = await self._db.write(lambda conn: purge(conn, before), background=True)
        self._purge_at = self._clock.monotonic() + (1.0 if deleted else _PURGE_SECONDS)

    async def _send(self, item: Claimed) -> None:
        async with self._at_once:
            try:
                await self._try(item)
            except Exception:  # the lease runs out and the row is tried again
                log.exception("meter_event.lost", entry_id=item.id)

    async def _try(self, item: Claimed) -> None:
        now = await self._db.read(database_now)
        if missed := item.missed(now):
            await self._give_up(item, missed, now)
            return
        try:
            await self._request(item)
        except StripeRefused as error:
            if item.task == "send" and _has_it(error):
                await self._done(item)
                return
            await self._later(item, error, unsent=True, answered=True)
        except StripeUnavailable as error:
            await self._later(item, error, unsent=error.unsent, answered=error.answered)
        else:
            await self._done(item)

    async def _request(self, item: Claimed) -> None:
        if item.task == "adjust":
            await self._stripe.adjust_meter_event(
                {"event_name": self._event_name, "type": "cancel", "cancel": {"identifier": item.id}},
                item.key,
            )
            return
        await self._stripe.send_meter_event(
            {
                "event_name": self._event_name,
                "identifier": item.id,
                "timestamp": item.counts_at // 1000,
                "payload": {"stripe_customer_id": item.customer_id, "value": str(item.value)},
            },
            item.key,
        )

    async def _done(self, item: Claimed) -> None:
        if await self._db.write(lambda conn: meters.done(conn, item, database_now(conn)), background=True):
            self._metrics.meter_event("sent")

    async def _later(self, item: Claimed, error: StripeError, *, unsent: bool, answered: bool) -> None:
        wait = BACKOFF_SECONDS[min(item.tries, len(BACKOFF_SECONDS) - 1)] * 1000
        await self._db.write(
            lambda conn: meters.later(
                conn, item, str(error), database_now(conn) + wait, unsent=unsent, answered=answered
            ),
            background=True,
        )
        self._metrics.meter_event("failed")
        log.warning("meter_event.later", entry_id=item.id, task=item.task, error=str(error))

    async def _give_up(self, item: Claimed, reason: str, now: int) -> None:
        def write(conn: Connection) -> bool:
            kept = meters.give_up(conn, item, reason)
            if kept:
                text = f"{item.task} of usage {item.id} ({item.organization_id}) given up: {reason}"
                add_notice(conn, "meter_event_dead", text, now)
            return kept

        if await self._db.write(write, background=True):
            self._metrics.meter_event("dead")
        log.error("meter_event.dead", entry_id=item.id, organization_id=item.organization_id, reason=reason)


def _any_due(conn: Connection) -> bool:
    now = database_now(conn)
    query = select(meter_events.c.id).where(meter_events.c.due <= now, meter_events.c.lease_until <= now)
    return conn.execute(query.limit(1)).first() is not None


def _has_it(error: StripeRefused) -> bool:
    """Stripe refuses an identifier that it already has: an earlier try arrived."""
    text: Any = str(error).lower()
    return "identifier" in text and "already" in text
