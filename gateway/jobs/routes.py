"""Which upstream an attempt goes to, and what it is asked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

from gateway.jobs.context import JobContext
from gateway.videos.routing import Route
from gateway.videos.stored import StoredMedia, StoredRequest
from providers.contract import Handle, MediaInput, Operation, VideoRequest


def routes_of(ctx: JobContext, video: Any) -> list[Route]:
    """Every route by which an attempt of the video may have gone, those of removed upstreams included."""
    found: list[Route] = []
    for model in video.request["models"] or [video.model]:
        found.extend(ctx.catalogue.find(model))
    operation = Operation(video.operation)
    return [route for route in found if operation in route.spec.operations]


def is_route_of(route: Route, attempt: Any) -> bool:
    """The attempt went this way."""
    return bool(route.upstream.name == attempt.upstream and route.spec.upstream_id == attempt.upstream_model)


def route_of_attempt(routes: list[Route], attempt: Any) -> Route | None:
    """The route the attempt went by, if the configuration still has it; of a fleet to the server that took it."""
    account, _, address = attempt.upstream.partition("@")
    for route in routes:
        if route.upstream.name == account and route.spec.upstream_id == attempt.upstream_model:
            return replace(route, upstream=route.upstream.at(address)) if address else route
    return None


def video_request(
    ctx: JobContext,
    video: Any,
    attempt: Any,
    request: StoredRequest,
    *,
    source: Handle | None,
    route: Route,
) -> VideoRequest:
    """The explicit request of one attempt. Addresses of its inputs live as long as its job may take."""
    spec = route.spec
    resolution, aspect_ratio = spec.words_of(request.size)
    return VideoRequest(
        attempt_id=attempt.id,
        idempotency_key=attempt.idempotency_key,
        operation=Operation(video.operation),
        model=attempt.upstream_model,
        prompt=video.prompt or "",
        seconds=request.seconds,
        size=request.size,
        media=tuple(
            _media(ctx, video.id, n, item, spec.deadline_seconds) for n, item in enumerate(request.media)
        ),
        parameters=_with_seed(request.parameters, route, video.id),
        provider_options=request.provider_options,
        source=source,
        callback_url=ctx.callback_url(attempt.id),
        resolution=resolution,
        aspect_ratio=aspect_ratio,
        wire=spec.wire,
    )


def _with_seed(parameters: dict[str, Any], route: Route, video_id: str) -> dict[str, Any]:
    """A worker of ours is always told a seed: the video comes back the same from whichever worker makes it."""
    if not route.local or "seed" not in route.spec.parameters or "seed" in parameters:
        return parameters
    return {**parameters, "seed": seed_of(video_id)}


def seed_of(video_id: str) -> int:
    """The seed of a video whose client named none: 32 bits that its id fixes."""
    return int.from_bytes(sha256(f"seed:{video_id}".encode()).digest()[:4])


def _media(ctx: JobContext, video_id: str, n: int, item: StoredMedia, seconds: float) -> MediaInput:
    key = item.storage_key
    if key is None:
        raise AssertionError("an input is copied into storage before its video is submitted")

    def chunks() -> AsyncIterator[bytes]:
        return ctx.storage.stream(key)

    url = ctx.input_url(video_id, n, item.media_type, seconds)
    return MediaInput(item.role, item.media_type, item.size, chunks, item.name, url)
