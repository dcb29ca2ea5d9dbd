"""The POSTs that make or stop something: create, quote, remix, edits, extensions, characters, cancel."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.params import PathParameter

from gateway.http.auth import requires
from gateway.http.body import Body, read_body
from gateway.http.openapi import documented, dual_media
from gateway.http.video_schemas import Character, Quote, Video
from gateway.idempotency.service import Claim, Idempotency, claim_of
from gateway.principal import Principal, Scope
from gateway.settings import Settings
from gateway.videos.request import CharacterBody, CreateBody, EditBody, ExtendBody, RemixBody
from gateway.videos.service import Call, VideoService

VideoId = Annotated[str, PathParameter(description="The video's id.")]

_WRITES: Final = requires(Scope.VIDEOS_WRITE)
_CREATES: Final = {**_WRITES, "limit": "create"}
_MOST_RETRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads bodies within this installation's limits: the dependency `reader` of these handlers."""

    settings: Settings
    upload_dir: Path
    idempotency: Idempotency

    @asynccontextmanager
    async def read(
        self, request: Request[Any, Any, Any], file_bytes: int
    ) -> AsyncIterator[tuple[Call, Body]]:
        """Read a body and what its headers say; its files live until the block ends."""
        limits = self.settings.limits
        async with read_body(request, limits, self.upload_dir, file_bytes=file_bytes) as body:
            principal, path = request.user, request.scope["path"]
            key = request.headers.get("idempotency-key")
            claim = claim_of(principal.project_id, "POST", path, key, body.hash) if key is not None else None
            yield Call(principal, path, body.hash, retry_count(request), claim), body

    async def once(
        self, claim: Claim | None, action: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Carry the action out, or give the answer that its Idempotency-Key already has."""
        if claim is None:
            return await action()

        async def run() -> tuple[int, dict[str, Any]]:
            return 200, await action()

        _, answer = await self.idempotency.run(claim, run)
        return answer


def retry_count(request: Request[Any, Any, Any]) -> int:
    """Read which retry of an SDK this is, 0 for a first request."""
    text = request.headers.get("x-stainless-retry-count", "")
    return min(int(text), _MOST_RETRIES) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


def provide_reader(
    settings: NamedDependency[Settings],
    upload_dir: NamedDependency[Path],
    idempotency: NamedDependency[Idempotency],
) -> Reader:
    """Make the dependency `reader`."""
    return Reader(settings, upload_dir, idempotency)


def answered(videos: VideoService, video: dict[str, Any]) -> Response[dict[str, Any]]:
    """Answer with a video: its cost and, while it is not ended, when to look again also as headers."""
    headers = cost_headers(video["cost"]["amount"], video["cost"]["status"])
    poll_after = videos.poll_after_ms(video)
    if poll_after is not None:
        headers["openai-poll-after-ms"] = str(poll_after)
    return Response(video, headers=headers, status_code=200, media_type="application/json")


def cost_headers(amount: str, status: str) -> dict[str, str]:
    """Tell the cost beside the body, for clients whose types have no place for it."""
    return {"x-onereel-cost": amount, "x-onereel-cost-status": status}


class VideoActions(Controller):
    """Handlers of the POST routes; served as part of `VideosController`."""

    @post(
        operation_class=dual_media(CreateBody, Video),
        summary="Create a video",
        status_code=200,
        opt=_CREATES,
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        videos: NamedDependency[VideoService],
        reader: NamedDependency[Reader],
    ) -> Response[dict[str, Any]]:
        """Accept a video and answer at once; it is made in the background."""
        async with reader.read(request, reader.settings.limits.image_bytes) as (call, body):
            video = await reader.once(call.claim, lambda: videos.create(call, body.fields))
        return answered(videos, video)

    @post(
        "/quote",
        opt=_WRITES,
        operation_class=dual_media(CreateBody, Quote),
        summary="Price a video",
        status_code=200,
    )
    async def quote(
        self,
        request: Request[Any, Any, Any],
        videos: NamedDependency[VideoService],
        reader: NamedDependency[Reader],
    ) -> Response[dict[str, Any]]:
        """Tell what a create with the same body would cost and where it would run; nothing is made."""
        async with reader.read(request, reader.settings.limits.image_bytes) as (call, body):
            quote = await videos.quote(call.principal, body.fields)
        headers = cost_headers(quote["hold"]["amount"], "quoted")
        return Response(quote, headers=headers, status_code=200, media_type="application/json")

    @post(
        "/edits",
        operation_class=dual_media(EditBody, Video),
        summary="Edit a video",
        status_code=200,
        opt=_CREATES,
    )
    async def edit(
        self,
        request: Request[Any, Any, Any],
        videos: NamedDependency[VideoService],
        reader: NamedDependency[Reader],
    ) -> Response[dict[str, Any]]:
        """Change a completed or uploaded video as the prompt says; its length and size stay."""
        async with reader.read(request, reader.settings.limits.video_bytes) as (call, body):
            video = await reader.once(call.claim, lambda: videos.edit(call, body.fields))
        return answered(videos, video)

    @post(
        "/extensions",
        operation_class=dual_media(ExtendBody, Video),
        summary="Extend a video",
        status_code=200,
        opt=_CREATES,
    )
    async def extend(
        self,
        request: Request[Any, Any, Any],
        videos: NamedDependency[VideoService],
        reader: NamedDependency[Reader],
    ) -> Response[dict[str, Any]]:
        """Continue a completed or uploaded video; the result is one file with both."""
        async with reader.read(request, reader.settings.limits.video_bytes) as (call, body):
            video = await reader.once(call.claim, lambda: videos.extend(call, body.fields))
        return answered(videos, video)

    @post(
        "/characters",
        operation_class=dual_media(CharacterBody, Character),
        summary="Create a character",
        status_code=200,
        opt=_CREATES,
    )
    async def create_character(
        self,
        request: Request[Any, Any, Any],
        videos: NamedDependency[VideoService],
        reader: NamedDependency[Reader],
    ) -> dict[str, Any]:
        """Keep a short clip of a character under a name, for models that take such references."""
        async with reader.read(request, reader.settings.limits.video_bytes) as (call, body):
            return await reader.once(
                call.claim, lambda: videos.create_character(call.principal, body.fields, call.claim)
            )

    @post(
        "/{video_id:str}/remix",
        operation_class=dual_media(RemixBody, Video),
        summary="Remix a video",
        status_code=200,
        opt=_CREATES,
    )
    async def remix(
        self,
        request: Request[Any, Any, Any],
        video_id: VideoId,
        videos: NamedDependency[VideoService],
        reader: NamedDependency[Reader],
    ) -> Response[dict[str, Any]]:
        """Make a new version of a completed video from another prompt."""
        async with reader.read(request, reader.settings.limits.image_bytes) as (call, body):
            video = await reader.once(call.claim, lambda: videos.remix(call, video_id, body.fields))
        return answered(videos, video)

    @post(
        "/{video_id:str}/cancel",
        opt=_WRITES,
        operation_class=documented(answer=Video),
        summary="Cancel a video",
        status_code=200,
    )
    async def cancel(
        self,
        video_id: VideoId,
        principal: NamedDependency[Principal],
        videos: NamedDependency[VideoService],
    ) -> Response[dict[str, Any]]:
        """Stop a video that is not ended; it becomes `failed` with the error code `cancelled`."""
        return answered(videos, await videos.cancel(principal, video_id))
