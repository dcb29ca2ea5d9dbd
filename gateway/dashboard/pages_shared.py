"""/shared/{token}: one video for whoever has the link."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse

from gateway.dashboard.page import Pages
from gateway.errors import BadRequest
from gateway.http.download import Download
from gateway.storage import Storage
from gateway.videos.content import Variant, VideoContent
from gateway.videos.sharing import Sharing

AnyRequest = Request[Any, Any, Any]
Token = Annotated[str, PathParameter(max_length=100)]


class SharedPages(Controller):
    """Public pages."""

    path = "/shared/{token:str}"
    opt = {"open": True}

    @get()
    async def shared(
        self,
        request: AnyRequest,
        token: Token,
        sharing: NamedDependency[Sharing],
        content: NamedDependency[VideoContent],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show the video, and nothing else of its project. NotFound where its file is not kept any longer."""
        found = await sharing.find(token)
        await content.find(found.project_id, found.video["id"], Variant.VIDEO)
        answer = pages.show(
            request, "videos/shared.html", video=found.video, until=found.expires_at, token=token
        )
        answer.headers |= {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}
        return answer

    @get("/content")
    async def content(
        self,
        *,
        request: AnyRequest,
        token: Token,
        sharing: NamedDependency[Sharing],
        content: NamedDependency[VideoContent],
        storage: NamedDependency[Storage],
        variant: Annotated[str, QueryParameter(max_length=20)] = "video",
    ) -> ASGIResponse:
        """Send the video, or its still."""
        if variant not in (Variant.VIDEO, Variant.THUMBNAIL):
            raise BadRequest("There is no such file of a video.", param="variant")
        found = await sharing.find(token)
        file = await content.find(found.project_id, found.video["id"], Variant(variant))
        return Download(storage, file, request)
