"""/v1/videos: OpenAI's Videos API, with quotes, cancellation and live events."""

from typing import Annotated, Any, Final

from litestar import Response, delete, get
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter

from gateway.http.auth import requires
from gateway.http.events import VideoEvents
from gateway.http.openapi import documented
from gateway.http.pagination import PageRequest, list_envelope, provide_page
from gateway.http.video_actions import VideoActions, VideoId, answered, provide_reader
from gateway.http.video_schemas import Character, DeletedVideo, Video, VideoList
from gateway.principal import Principal, Scope
from gateway.videos.attempts import AttemptList
from gateway.videos.service import VideoService

_READS: Final = requires(Scope.VIDEOS_READ)


class VideosController(VideoActions, VideoEvents):
    """Videos of the caller's project."""

    path = "/v1/videos"
    tags = ["videos"]
    dependencies = {"reader": Provide(provide_reader, sync_to_thread=False)}

    @get(
        opt=_READS,
        operation_class=documented(answer=VideoList),
        summary="List videos",
        dependencies={"page": Provide(provide_page, sync_to_thread=False)},
    )
    async def list_videos(
        self,
        principal: NamedDependency[Principal],
        videos: NamedDependency[VideoService],
        page: NamedDependency[PageRequest],
    ) -> dict[str, Any]:
        """List the project's videos, newest first."""
        data, more = await videos.list(
            principal, after=page.after, limit=page.limit, descending=page.descending
        )
        return list_envelope(data, has_more=more)

    @get("/{video_id:str}", opt=_READS, operation_class=documented(answer=Video), summary="Retrieve a video")
    async def retrieve(
        self, video_id: VideoId, principal: NamedDependency[Principal], videos: NamedDependency[VideoService]
    ) -> Response[dict[str, Any]]:
        """Show one video. The header openai-poll-after-ms says when to look again."""
        return answered(videos, await videos.retrieve(principal, video_id))

    @get(
        "/{video_id:str}/attempts",
        opt=_READS,
        operation_class=documented(answer=AttemptList),
        summary="List a video's attempts",
    )
    async def list_attempts(
        self, video_id: VideoId, principal: NamedDependency[Principal], videos: NamedDependency[VideoService]
    ) -> dict[str, Any]:
        """Show where the video was sent, in order, and how each of it went."""
        return await videos.attempts(principal, video_id)

    @delete(
        "/{video_id:str}",
        opt=requires(Scope.VIDEOS_WRITE),
        operation_class=documented(answer=DeletedVideo),
        summary="Delete a video",
        status_code=200,
    )
    async def remove(
        self, video_id: VideoId, principal: NamedDependency[Principal], videos: NamedDependency[VideoService]
    ) -> dict[str, Any]:
        """Delete a video; one that is still being made is cancelled first."""
        return await videos.delete(principal, video_id)

    @get(
        "/characters/{character_id:str}",
        opt=_READS,
        operation_class=documented(answer=Character),
        summary="Retrieve a character",
    )
    async def retrieve_character(
        self,
        character_id: Annotated[str, PathParameter(description="The character's id.")],
        principal: NamedDependency[Principal],
        videos: NamedDependency[VideoService],
    ) -> dict[str, Any]:
        """Show one character."""
        return await videos.retrieve_character(principal, character_id)
