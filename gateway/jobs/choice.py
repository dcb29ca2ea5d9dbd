"""Which route the next attempt takes: only what can do it, at a price that was agreed, by an upstream that is there."""

import random
from dataclasses import dataclass
from typing import Any, Final

from billing.prices import Shape, UnknownPrice
from gateway.jobs import costs
from gateway.jobs.context import Job, JobContext
from gateway.jobs.routes import is_route_of
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
    """The route; or seconds to `wait` while every upstream that is left is away; or neither: `away` too long, or none."""

    route: Route | None = None
    wait: float | None = None
    away: bool = False


def choose(ctx: JobContext, job: Job, request: StoredRequest, pinned: Any | None) -> Choice:
    """The first route that was not tried and is there. One that only refused (busy, say) is asked again first."""
    left = _left(ctx, job, request, pinned)
    last = job.rows.attempt
    if last is not None and last.state == "refused":
        left.sort(key=lambda route: not is_route_of(route, last))
    if not left:
        return Choice()
    away = []
    for route in left:
        found = ctx.health.away(route.upstream.name)
        if found is None:
            return Choice(route)
        away.append(found)
    if min(each.since for each in away) > ctx.settings.routing.patience_seconds:
        return Choice(away=True)
    soon = min(each.wait for each in away)
    later = random.uniform(*_LOOK_AGAIN_SECONDS)  # noqa: S311  (spread, not secrecy)
    return Choice(wait=max(_SOONEST_SECONDS, min(soon, later)))


def others_left(ctx: JobContext, job: Job, request: StoredRequest) -> bool:
    """Whether another route may make the video at once, after the one of the latest attempt."""
    if request.pinned_attempt_id is not None:
        return False
    last = job.rows.attempt
    return any(
        (last is None or not is_route_of(route, last)) and ctx.health.away(route.upstream.name) is None
        for route in _left(ctx, job, request, None)
    )


def _left(ctx: JobContext, job: Job, request: StoredRequest, pinned: Any | None) -> list[Route]:
    video = job.rows.video
    routes = [
        route
        for route in in_order(ctx, video, request)
        if (route.upstream.name, route.spec.upstream_id) not in job.rows.tried
    ]
    if pinned is not None:
        return [route for route in routes if route.upstream.name == pinned.upstream][:1]
    return routes


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
