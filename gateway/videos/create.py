"""Accepting videos: plan what to make (pure checks first, files last), then write it all in one transaction."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from billing.ledger import Hold, Spender
from billing.money import to_micros
from gateway import tracing
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import ApiError
from gateway.events import Hints
from gateway.idempotency.service import AlreadyRecordedError, Claim
from gateway.ids import new_id
from gateway.principal import Principal
from gateway.telemetry import Metrics
from gateway.videos.capabilities import text_of
from gateway.videos.inputs import Accepted, Inputs
from gateway.videos.insert import NewVideos, OverBudget, insert_videos, tell_exhausted
from gateway.videos.lists import group_of
from gateway.videos.quoting import Price
from gateway.videos.request import VideoBody
from gateway.videos.routing import Route
from gateway.videos.states import State
from gateway.videos.stored import StoredMedia, StoredRequest
from gateway.videos.tables import videos
from gateway.videos.terms import priority, slow_down
from gateway.videos.view import public_video
from providers.contract import Operation

PRIORITIES: Final = {"priority": 0, "default": 10, "flex": 20}
_RETRY_WAIT_SECONDS: Final = 10.0
_NOTHING: Final[dict[str, Any]] = {column.name: None for column in videos.columns}

LONGEST_QUEUE_MS: Final = 24 * 3_600_000
"""How long a video may wait for its turn; once an upstream takes it, the model's own deadline counts."""


@dataclass(frozen=True, slots=True)
class Call:
    """The HTTP request around a create: who, where, what (hex SHA-256 of the canonical body), and which retry."""

    principal: Principal
    path: str
    body_hash: str
    retry_count: int = 0
    claim: Claim | None = None

    @property
    def fingerprint(self) -> str:
        """What an SDK's retry has in common with its first request."""
        text = f"{self.principal.key_id}\n{self.path}\n{self.body_hash}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked request: nothing about it can be refused any more but money, quota and a full disk.

    `seconds` is what the upstream makes and what is billed, `total_seconds` the length of the result.
    """

    operation: Operation
    body: VideoBody
    routes: tuple[Route, ...]
    models: tuple[str, ...]
    seconds: Decimal
    total_seconds: Decimal
    size: str
    price: Price
    parameters: dict[str, Any]
    media: tuple[Accepted, ...] = ()
    warnings: tuple[str, ...] = ()
    source_video_id: str | None = None
    pinned_attempt_id: str | None = None

    @property
    def state(self) -> State:
        """Where the video starts: input URLs are copied first."""
        return State.PREPARING if any(each.url is not None for each in self.media) else State.QUEUED


class Creation:
    """Turns a plan into rows."""

    def __init__(
        self, db: Database, clock: Clock, inputs: Inputs, hints: Hints, metrics: Metrics | None = None
    ) -> None:
        self._db = db
        self._clock = clock
        self._inputs = inputs
        self._hints = hints
        self._metrics = metrics
        self._in_flight: dict[str, set[asyncio.Event]] = {}

    @asynccontextmanager
    async def entered(self, call: Call) -> AsyncIterator[None]:
        """Enclose a whole create: a retry first waits (at most 10 s) for equal requests still being worked on."""
        fingerprint = call.fingerprint
        if call.retry_count and call.claim is None:
            await self._wait_for_equals(fingerprint)
        mine = asyncio.Event()
        self._in_flight.setdefault(fingerprint, set()).add(mine)
        try:
            yield
        finally:
            equals = self._in_flight[fingerprint]
            equals.discard(mine)
            if not equals:
                del self._in_flight[fingerprint]
            mine.set()

    async def create(self, call: Call, plan: Plan) -> dict[str, Any]:
        """Write the videos; answers the first one, or the one that this retry had already made."""
        ids = [new_id("video") for _ in range(plan.body.n)]
        try:
            kept = [await self._inputs.keep(video_id, list(plan.media)) for video_id in ids]
        except Exception:
            await self._discard(ids, plan)
            raise
        new = new_videos(call, plan, ids, kept, self._clock.now_ms())
        tracing.annotate(video_id=ids[0], videos=len(ids), model=plan.models[0])
        try:
            with tracing.span("accept"):
                earlier = await self._db.write_batch(insert_videos, new)
        except (ApiError, AlreadyRecordedError) as error:
            await self._discard(ids, plan)
            if isinstance(error, OverBudget):
                await self._db.write(partial(tell_exhausted, error, new.created_at))
            raise
        self._hints.jobs_due()
        if earlier is None:
            if self._metrics is not None:
                self._metrics.videos_accepted(plan.models[0], len(ids))
            return new.answer
        await self._discard(ids, plan)
        group = await self._db.read(lambda conn: group_of(conn, earlier))
        return public_video(earlier, group)

    async def _wait_for_equals(self, fingerprint: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_RETRY_WAIT_SECONDS):
                for running in list(self._in_flight.get(fingerprint, ())):
                    await running.wait()

    async def _discard(self, ids: list[str], plan: Plan) -> None:
        if plan.media:
            await self._inputs.discard(ids)


def new_videos(
    call: Call, plan: Plan, ids: Sequence[str], kept: Sequence[list[StoredMedia]], now: int
) -> NewVideos:
    """Build every row of a request; `kept` are the inputs per video."""
    principal, many = call.principal, len(ids) > 1
    group_id = new_id("grp") if many else None
    seeds = _seeds(plan, len(ids))
    rows = [
        {
            **_shared(call, plan, now),
            "id": video_id,
            "group_id": group_id,
            "request": _stored(call, plan, kept[n], seeds[n]),
            # only the first of a group answers a retry
            "fingerprint": call.fingerprint if n == 0 else None,
        }
        for n, video_id in enumerate(ids)
    ]
    job = {
        "kind": "video",
        "state": plan.state,
        "priority": priority(principal.plan, PRIORITIES[plan.body.service_tier]),
        "lease_until": 0,
        "fence": 0,
        "tries": 0,
    }
    micros = plan.price.video_micros
    spender = Spender(principal.project_id, principal.key_id, plan.body.user)
    return NewVideos(
        rows=rows,
        jobs=[{"id": video_id, **job} for video_id in ids],
        holds=[
            Hold(video_id, principal.organization_id, micros, now, int(plan.seconds * 1000), spender)
            for video_id in ids
        ],
        answer=public_video(_NOTHING | rows[0], ids if many else ()),
        created_at=now,
        claim=call.claim,
        retry=0 if call.claim is not None else call.retry_count,
        source_video_id=plan.source_video_id,
        fast_videos=principal.plan.fast_videos_per_month,
        slow_down=slow_down(principal.plan),
    )


def _shared(call: Call, plan: Plan, now: int) -> dict[str, Any]:
    principal, body = call.principal, plan.body
    return {
        "organization_id": principal.organization_id,
        "project_id": principal.project_id,
        "key_id": principal.key_id,
        "operation": plan.operation,
        "model": plan.models[0],
        "prompt": body.prompt,
        "seconds": text_of(plan.total_seconds),
        "size": plan.size,
        "source_video_id": plan.source_video_id,
        "state": plan.state,
        "progress": 0,
        "version": 1,
        "cancel_requested": False,
        "created_at": now,
        "deadline_in": LONGEST_QUEUE_MS,
        "user_ref": body.user,
        "metadata": body.metadata,
        "warnings": list(plan.warnings) or None,
        "hold_micros": plan.price.video_micros,
        "cost_status": "held",
        "retry_claims": 0,
        "trace": tracing.carried(),
    }


def _stored(call: Call, plan: Plan, media: list[StoredMedia], seed: int | None) -> dict[str, Any]:
    request = StoredRequest(
        seconds=plan.seconds,
        size=plan.size,
        models=list(plan.models),
        parameters=plan.parameters if seed is None else plan.parameters | {"seed": seed},
        provider_options=plan.body.provider_options,
        media=media,
        pinned_attempt_id=plan.pinned_attempt_id,
        webhook_url=plan.body.webhook_url,
        concurrent_videos=call.principal.concurrent_videos,
        organization_videos=call.principal.plan.concurrent_videos,
        watermark=call.principal.plan.watermark,
        retention_days=call.principal.plan.retention_days,
        cancel_fee_micros=to_micros(call.principal.plan.cancel_fee_usd),
        prices=plan.price.packed,
    )
    return request.model_dump(mode="json", exclude_defaults=True) | {"v": request.v}


def _seeds(plan: Plan, count: int) -> list[int | None]:
    """Give each video of a group a seed of its own, counting up from the client's where there is one."""
    given: int | None = plan.parameters.get("seed")
    if count == 1:
        return [given]
    if given is None and not all("seed" in route.spec.parameters for route in plan.routes):
        return [None] * count
    first = secrets.randbelow(2**32) if given is None else given
    return [(first + n) % 2**32 for n in range(count)]
