"""Which route the next attempt takes: only what can do it, at a price that was agreed, by an upstream that is there."""

import random
from dataclasses import dataclass, replace
from typing import Any, Final

from billing.prices import Shape, UnknownPrice
from gateway.jobs import costs
from gateway.jobs.claims import LOST
from gateway.jobs.context import Job, JobContext
from gateway.jobs.routes import is_route_of
from gateway.upstreams.health import Away
from gateway.videos.capabilities import suits
from gateway.videos.preference import arranged, preference_of
from gateway.videos.quoting import is_free
from gateway.videos.routing import Route
from gateway.videos.stored import StoredRequest
from providers.contract import Operation

_LOOK_AGAIN_SECONDS: Final = (5.0, 15.0)
_SOONEST_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """The routes that will do equally, best first: the one that has room takes it. While none has, it is looked at again
    after `hold_ms` at the latest, None where only a free place can change anything.

    No route: `wait` so many seconds while every upstream that is left is away; or neither: `away` too long, or none.
    """

    routes: tuple[Route, ...] = ()
    hold_ms: int | None = None
    wait: float | None = None
    away: bool = False


def choose(ctx: JobContext, job: Job, request: StoredRequest, pinned: Any | None) -> Choice:
    """The first route that was not tried and is there, and its equals.

    One that only refused (busy, say) is asked again first, one that lost the video last.
    """
    left = _left(ctx, job, request, pinned)
    last = job.rows.attempt
    if last is not None and last.state in {"refused", LOST}:
        left.sort(key=lambda route: is_route_of(route, last) == (last.state == LOST))
    if not left:
        return Choice()
    away = [_away(ctx, route) for route in left]
    there = [route for route, found in zip(left, away, strict=True) if found is None]
    if there:
        return _equals(ctx, job, there)
    if min(each.since for each in away if each is not None) > ctx.settings.routing.patience_seconds:
        return Choice(away=True)
    soon = min(each.wait for each in away if each is not None)
    later = random.uniform(*_LOOK_AGAIN_SECONDS)  # nosec B311 # noqa: S311  (spread, not secrecy)
    return Choice(wait=max(_SOONEST_SECONDS, min(soon, later)))


def others_left(ctx: JobContext, job: Job, request: StoredRequest, *, ours: bool = False) -> bool:
    """Whether another route may make the video at once, after the one of the latest attempt; `ours`: a worker of ours."""
    if request.pinned_attempt_id is not None:
        return False
    last = job.rows.attempt
    return any(
        (last is None or not is_route_of(route, last)) and _away(ctx, route) is None
        for route in _untried(ctx, job, request)
        if (route.local or not ours) and _is_able(ctx, route)
    )


def _away(ctx: JobContext, route: Route) -> Away | None:
    if route.upstream.is_fleet and route.upstream.address is None:
        return ctx.workers.nowhere(route.upstream)
    return ctx.health.away(route.upstream.name)


def _equals(ctx: JobContext, job: Job, there: list[Route]) -> Choice:
    """The first, and of servers like it those that will do as well: with the model in memory before those without."""
    first = there[0]
    equals = [route for route in there if _is_equal(route, first)]
    loaded = [route for route in equals if is_loaded(ctx, route)]
    hold_ms = int(ctx.settings.routing.hold_out_seconds * 1000)
    left_ms = job.rows.video.created_at + hold_ms - ctx.clock.now_ms()
    if loaded and len(loaded) < len(equals) and left_ms > 0:
        return Choice(tuple(loaded), hold_ms=left_ms)
    return Choice((*loaded, *(route for route in equals if not is_loaded(ctx, route))))


def _is_equal(route: Route, first: Route) -> bool:
    """A server of the same fleet, or another worker of ours with the same model that is configured to come as early."""
    if route.spec.id != first.spec.id or route.priority != first.priority:
        return False
    if route.upstream.account == first.upstream.account:
        return route.spec.upstream_id == first.spec.upstream_id
    return route.local and first.local and route.weight is None and first.weight is None


def is_loaded(ctx: JobContext, route: Route) -> bool:
    """Whether its worker has the model in memory."""
    return ctx.workers.state(route.upstream, route.spec.upstream_id) == "loaded"


def _left(ctx: JobContext, job: Job, request: StoredRequest, pinned: Any | None) -> list[Route]:
    """Routes to servers that were not tried for good. Those that cannot hold the model, or do not answer, only alone."""
    routes = _untried(ctx, job, request)
    if pinned is not None:
        return [route for route in routes if route.upstream.name == pinned.upstream][:1]
    able = [route for route in routes if _is_able(ctx, route)]
    return able or routes


def _untried(ctx: JobContext, job: Job, request: StoredRequest) -> list[Route]:
    return [
        route
        for each in in_order(ctx, job.rows.video, request)
        for route in _servers(ctx, each)
        if (route.upstream.name, route.spec.upstream_id) not in job.rows.tried
    ]


def _servers(ctx: JobContext, route: Route) -> list[Route]:
    """The route to each server of a fleet; the fleet itself, which is away, where it has none."""
    return [replace(route, upstream=each) for each in ctx.workers.servers(route.upstream)] or [route]


def _is_able(ctx: JobContext, route: Route) -> bool:
    state = ctx.workers.state(route.upstream, route.spec.upstream_id)
    return state != "missing" and ctx.workers.heard(route.upstream).reachable


def in_order(ctx: JobContext, video: Any, request: StoredRequest) -> list[Route]:
    """The routes that may serve the video, best first: model by model, as the client named them."""
    operation, shape = Operation(video.operation), request.shape(video.operation)
    prefer = preference_of(shape.service_tier, ctx.settings.routing.prefer)
    found: list[Route] = []
    for model in request.models or [video.model]:
        able = [
            route
            for route in ctx.catalogue.find(model)
            if not route.withdrawn
            and ctx.can_ask(route)
            and suits(route.spec, operation, request, len(video.prompt or ""))
            and _payable(ctx, video, request, route, shape)
        ]
        found += arranged(
            able,
            prefer,
            cost=lambda route: costs.expected_micros(route, request, video.operation),
            latency=ctx.health.median_seconds,
            seed=video.id,
        )
    return found


def _payable(ctx: JobContext, video: Any, request: StoredRequest, route: Route, shape: Shape) -> bool:
    """Agreed when the video was accepted; or, of a route that came later, known and within what is held."""
    if request.prices is None and is_free(ctx.settings.billing.mode):
        return True
    if request.is_agreed(route.upstream.name, route.spec.upstream_id):
        return True
    try:
        price = route.book.price(route.shape(shape), None)
    except UnknownPrice:
        return False
    return price.micros <= int(video.hold_micros)
