"""/v1/videos/{id}/content: the bytes of a finished video, always from our own storage."""

from typing import Annotated, Any, Final

from litestar import Controller, HttpMethod, Request, route
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse

from gateway.errors import BadRequest
from gateway.http.auth import requires
from gateway.http.download import Download
from gateway.http.openapi import documented
from gateway.principal import Principal, Scope
from gateway.storage import Storage
from gateway.videos.content import Variant, VideoContent

_VARIANTS: Final = [str(each) for each in Variant]
_MEDIA: Final = ("video/mp4", "image/webp", "image/jpeg")

VariantParameter = Annotated[
    str,
    QueryParameter(
        description="The video, a WebP still, or a JPEG grid of frames.", schema_extra={"enum": _VARIANTS}
    ),
]


class ContentController(Controller):
    """Download videos and previews."""

    path = "/v1/videos"
    tags = ["videos"]

    @route(
        "/{video_id:str}/content",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        opt=requires(Scope.VIDEOS_READ),
        operation_class=documented(media=_MEDIA),
        summary="Download a video",
        status_code=200,
    )
    async def download(
        self,
        *,
        request: Request[Any, Any, Any],
        video_id: Annotated[str, PathParameter(description="The video's id.")],
        principal: NamedDependency[Principal],
        content: NamedDependency[VideoContent],
        storage: NamedDependency[Storage],
        variant: VariantParameter = "video",
    ) -> ASGIResponse:
        """Stream the file, whole or a single byte range, with an ETag."""
        if variant not in _VARIANTS:
            raise BadRequest(
                f"Invalid value for 'variant': use one of {', '.join(_VARIANTS)}.", param="variant"
            )
        found = await content.find(principal.project_id, video_id, Variant(variant))
        return Download(storage, found, request)
