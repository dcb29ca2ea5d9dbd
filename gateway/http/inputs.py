"""Where upstreams fetch input files: no key, a signed address that ends."""

from typing import Annotated, Any

from litestar import Controller, HttpMethod, Request, route
from litestar.di import NamedDependency
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse

from gateway.http.download import Download
from gateway.http.openapi import documented
from gateway.storage import Storage
from gateway.videos.input_links import PATH, InputLinks


class InputsController(Controller):
    """Give an upstream the files of the video it makes."""

    path = PATH
    tags = ["Callbacks"]
    opt = {"public": True}

    @route(
        "/{video_id:str}/{n:int}/{until:int}/{signature:str}/{name:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        operation_class=documented(media=["image/png", "video/mp4"]),
        summary="Fetch an input file",
        status_code=200,
    )
    async def fetch(
        self,
        *,
        request: Request[Any, Any, Any],
        video_id: Annotated[str, PathParameter(description="The video's id.", max_length=64)],
        n: Annotated[int, PathParameter(description="Which input.", ge=0, le=1000)],
        until: Annotated[int, PathParameter(description="When the address ends.", ge=0, le=99_999_999_999)],
        signature: Annotated[str, PathParameter(description="Proves that we made it.", max_length=64)],
        name: Annotated[str, PathParameter(description="For the reader only.", max_length=64)],  # noqa: ARG002
        inputs: NamedDependency[InputLinks],
        storage: NamedDependency[Storage],
    ) -> ASGIResponse:
        """Stream the file, whole or a single byte range; never a redirect."""
        return Download(storage, await inputs.find(video_id, n, until, signature), request)
