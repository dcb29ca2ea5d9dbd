"""/v1/videos/{id}/events: a video's changes as server-sent events, until it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.response import Stream

from gateway.clock import Clock
from gateway.errors import NotFound
from gateway.events import Hints
from gateway.http.auth import requires
from gateway.http.openapi import documented
from gateway.http.video_actions import VideoId
from gateway.principal import Principal, Scope
from gateway.videos.service import VideoService

POLL_SECONDS: Final = 1.0
"""How long a change may stay unseen when another process made it."""

COMMENT_SECONDS: Final = 15.0
_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_ENDED: Final = {"completed": "video.completed", "failed": "video.failed"}


class VideoEvents(Controller):
    """The stream; served as part of `VideosController`."""

    @get(
        "/{video_id:str}/events",
        opt=requires(Scope.VIDEOS_READ),
        operation_class=documented(media=("text/event-stream",)),
        summary="Follow a video",
        status_code=200,
    )
    async def events(
        self,
        *,
        request: Request[Any, Any, Any],
        video_id: VideoId,
        principal: NamedDependency[Principal],
        videos: NamedDependency[VideoService],
        hints: NamedDependency[Hints],
        clock: NamedDependency[Clock],
    ) -> Response[Any]:
        """Send the video at once and at every change as `video.updated`, `video.completed` or `video.failed`.

        The event id is the video's version; Last-Event-ID resumes after it. 204 when there is nothing more to come.
        """
        seen = _last_event_id(request)
        version, video = await videos.retrieve_versioned(principal, video_id)
        if seen >= version and video["status"] in _ENDED:
            return Response(None, status_code=204)
        feed = _Feed(videos, hints, clock, principal, video_id)
        return Stream(feed.events(seen), media_type="text/event-stream", headers=_HEADERS)


class _Feed:
    """One client's view of one video."""

    def __init__(
        self, videos: VideoService, hints: Hints, clock: Clock, principal: Principal, video_id: str
    ) -> None:
        self._videos = videos
        self._hints = hints
        self._clock = clock
        self._principal = principal
        self._video_id = video_id

    async def events(self, seen: int) -> AsyncIterator[str]:
        """Yield every version after `seen`; ends with the video, or when it is deleted."""
        spoken = self._clock.monotonic()
        async with self._hints.watching(self._video_id) as changed:
            while True:
                changed.clear()
                version = await self._videos.version(self._principal, self._video_id)
                if version is None:
                    return
                if version > seen:
                    try:
                        seen, video = await self._videos.retrieve_versioned(self._principal, self._video_id)
                    except NotFound:
                        return
                    spoken = self._clock.monotonic()
                    yield event(seen, video)
                    if video["status"] in _ENDED:
                        return
                elif self._clock.monotonic() - spoken >= COMMENT_SECONDS:
                    spoken = self._clock.monotonic()
                    yield ": waiting\n\n"
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), POLL_SECONDS)


def event(version: int, video: dict[str, Any]) -> str:
    """Write one server-sent event."""
    name = _ENDED.get(video["status"], "video.updated")
    return f"id: {version}\nevent: {name}\ndata: {json.dumps(video, separators=(',', ':'))}\n\n"


def _last_event_id(request: Request[Any, Any, Any]) -> int:
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
