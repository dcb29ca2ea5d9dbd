"""/v1/videos/{id}/events: a video's changes as server-sent events, until it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.response import Stream

from gateway.clock import Clock
from gateway.db_group import DatabaseAway
from gateway.errors import NotFound, Unauthorized, Unavailable
from gateway.events import Hints
from gateway.http.auth import bearer_token, requires
from gateway.http.openapi import documented
from gateway.http.video_actions import VideoId
from gateway.keys.service import KeyService
from gateway.principal import Principal, Scope
from gateway.videos.service import VideoService
from gateway.videos.states import ENDED

COMMENT_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 1.0
_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_NAMES: Final = {"completed": "video.completed", "failed": "video.failed"}


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
        keys: NamedDependency[KeyService],
        videos: NamedDependency[VideoService],
        hints: NamedDependency[Hints],
        clock: NamedDependency[Clock],
    ) -> Response[Any]:
        """Send the video at once and at every change as `video.updated`, `video.completed` or `video.failed`.

        The event id is the video's version; Last-Event-ID resumes after it. 204 when there is nothing more to come.
        The stream ends without a last event when the key is revoked.
        """
        seen = last_event_id(request)
        version, video = await videos.retrieve_versioned(principal, video_id)
        if seen >= version and video["status"] in ENDED:
            return Response(None, status_code=204)
        token = bearer_token(request.headers.get("authorization", "").encode("latin-1"))
        feed = Feed(
            videos=videos,
            hints=hints,
            clock=clock,
            principal=principal,
            video_id=video_id,
            is_let=partial(_is_good, keys, token),
            token=token,
        )
        return feed.answer(seen, version, video)


@dataclass(frozen=True, slots=True)
class Feed:
    """One client's view of one video, for as long as `is_let` says so; `token` is the API key, if it is one."""

    videos: VideoService
    hints: Hints
    clock: Clock
    principal: Principal
    video_id: str
    is_let: Callable[[], Awaitable[bool]]
    token: str | None = None
    patience: float = COMMENT_SECONDS

    def answer(self, seen: int, version: int, video: dict[str, Any]) -> Response[Any]:
        """Stream the events."""
        return Stream(self.events(seen, version, video), media_type="text/event-stream", headers=_HEADERS)

    async def events(self, seen: int, version: int, video: dict[str, Any]) -> AsyncIterator[str]:
        """Yield every version after `seen`, this one first; ends with the video, or when it is deleted or the key
        revoked."""
        spoken = self.clock.monotonic()
        async with self.hints.watching(self.video_id, self.token, version) as watch:
            while not self.hints.closing and await self.is_let():
                if watch.take():
                    try:
                        version, video = await self.videos.retrieve_versioned(self.principal, self.video_id)
                    except NotFound:
                        return
                    except DatabaseAway:  # looked at again at the next turn
                        watch.wake(news=True)
                        await asyncio.sleep(RETRY_SECONDS)
                        continue
                if version > seen:
                    seen = watch.version = version
                    spoken = self.clock.monotonic()
                    yield event(seen, video)
                if video["status"] in ENDED:
                    return
                silent = self.clock.monotonic() - spoken
                if silent >= COMMENT_SECONDS:
                    spoken, silent = self.clock.monotonic(), 0
                    yield ": waiting\n\n"
                await watch.wait(min(self.patience, COMMENT_SECONDS - silent))


async def _is_good(keys: KeyService, token: str) -> bool:
    try:
        await keys.authenticate(token)
    except Unauthorized:
        return False
    except Unavailable:
        return True  # nobody knows just now; asked again at the next turn
    return True


def event(version: int, video: dict[str, Any]) -> str:
    """Write one server-sent event."""
    name = _NAMES.get(video["status"], "video.updated")
    return f"id: {version}\nevent: {name}\ndata: {json.dumps(video, separators=(',', ':'))}\n\n"


def last_event_id(request: Request[Any, Any, Any]) -> int:
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
