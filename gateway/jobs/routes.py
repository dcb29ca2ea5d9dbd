"""Which upstream an attempt goes to, and what it is asked."""

from collections.abc import AsyncIterator
from typing import Any

from gateway.jobs.context import JobContext
from gateway.storage import Storage
from gateway.videos.routing import Route
from gateway.videos.stored import StoredMedia, StoredRequest
from providers.contract import Handle, MediaInput, Operation, VideoRequest


def routes_of(ctx: JobContext, video: Any, request: StoredRequest) -> list[Route]:
    """Every route that may serve the video, in order: the model's own, then the client's fallbacks."""
    found: list[Route] = []
    for model in request.models or [video.model]:
        found.extend(ctx.catalogue.find(model))
    operation = Operation(video.operation)
    return [route for route in found if operation in route.spec.operations]


def next_route(routes: list[Route], attempt: Any | None, pinned_upstream: str | None) -> Route | None:
    """The route of the next attempt: where the last one was refused for good, the one after it."""
    if pinned_upstream is not None:
        routes = [r for r in routes if r.upstream.name == pinned_upstream][:1]
    if attempt is None:
        return routes[0] if routes else None
    places = [n for n, r in enumerate(routes) if is_route_of(r, attempt)]
    if not places:
        return routes[0] if routes else None
    if attempt.state == "refused":
        return routes[places[0]]
    after = places[-1] + 1  # the last: two models may share one upstream model
    return routes[after] if after < len(routes) else None


def is_route_of(route: Route, attempt: Any) -> bool:
    """The attempt went this way."""
    return bool(route.upstream.name == attempt.upstream and route.spec.upstream_id == attempt.upstream_model)


def route_of_attempt(routes: list[Route], attempt: Any) -> Route | None:
    """The route the attempt went by, if the configuration still has it."""
    return next((r for r in routes if is_route_of(r, attempt)), None)


def video_request(
    ctx: JobContext, video: Any, attempt: Any, request: StoredRequest, source: Handle | None
) -> VideoRequest:
    """The explicit request of one attempt."""
    return VideoRequest(
        attempt_id=attempt.id,
        idempotency_key=attempt.idempotency_key,
        operation=Operation(video.operation),
        model=attempt.upstream_model,
        prompt=video.prompt or "",
        seconds=request.seconds,
        size=request.size,
        media=tuple(_media(ctx.storage, item) for item in request.media),
        parameters=request.parameters,
        provider_options=request.provider_options,
        source=source,
        callback_url=ctx.callback_url(attempt.id),
    )


def _media(storage: Storage, item: StoredMedia) -> MediaInput:
    key = item.storage_key
    if key is None:
        raise AssertionError("an input is copied into storage before its video is submitted")

    def chunks() -> AsyncIterator[bytes]:
        return storage.stream(key)

    return MediaInput(item.role, item.media_type, item.size, chunks, item.name)
