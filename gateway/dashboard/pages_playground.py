"""/playground: make a video with one model or several, see its price before, and compare what comes out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing.money import format_usd, parse_usd
from gateway.dashboard.creating import call_of
from gateway.dashboard.form import Form
from gateway.dashboard.model_form import body_for, fields_of
from gateway.dashboard.page import Pages, redirect
from gateway.dashboard.playground_request import (
    MOST_MODELS,
    MOST_RUNS,
    chosen,
    fields,
    makers,
    no_more_than_shown,
    public,
    runs_of,
    said,
    wanted,
)
from gateway.dashboard.prompts import examples_of
from gateway.dashboard.snippets import snippets
from gateway.errors import ApiError, BadRequest
from gateway.files.service import FileService, NewFile
from gateway.http.auth import requires
from gateway.http.body import UploadedFile
from gateway.keys.limits import RequestLimits
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.upstreams.service import UpstreamService
from gateway.videos.routing import Catalogue
from gateway.videos.search import Wanted
from gateway.videos.service import VideoService
from gateway.videos.states import ENDED

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
_RECENT: Final = 8
_IMAGE_SECONDS: Final = 7 * 86_400
_IMAGES: Final = ("input_reference", "last_frame", "reference_images")


class PlaygroundPages(Controller):
    """Videos without code."""

    path = "/playground"
    opt = requires(Scope.VIDEOS_WRITE)

    @get()
    async def playground(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
        catalogue: NamedDependency[Catalogue],
        upstreams: NamedDependency[UpstreamService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show the form, and the runs that the address names."""
        known = makers(visitor, catalogue)
        runs = await runs_of(request, videos, visitor)
        asked = await said(request, videos, visitor, runs)
        models = chosen(known, asked.pop("models"), catalogue)
        able = public(models, visitor)
        return pages.show(
            request,
            "playground/playground.html",
            models=[{"id": model.id, "description": model.routes[0].spec.description} for model in known],
            chosen=[model.id for model in models],
            most=MOST_MODELS,
            fields=fields_of(able),
            said=asked,
            runs=runs,
            recent=await _recent(videos, visitor),
            examples=examples_of(models),
            loading=[model.id for model in models if upstreams.loading(model)],
            programs=_programs(pages.base_url(request), able, asked),
            ended=ENDED,
        )

    @post("/quote", status_code=200)
    async def price(
        self,
        *,
        request: AnyRequest,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
        catalogue: NamedDependency[Catalogue],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Tell what the form would cost now, model by model."""
        models = public(wanted(form, makers(visitor, catalogue)), visitor)
        asked = fields(form)
        quotes: list[Json] = []
        total = 0
        for model in models:
            try:
                quoted = await videos.quote(visitor.principal, body_for(model, asked))
                quotes.append({"model": model["id"], "quote": quoted, "error": None})
                total += parse_usd(quoted["hold"]["amount"])
            except ApiError as error:
                quotes.append({"model": model["id"], "quote": None, "error": error})
        return pages.show(
            request,
            "playground/price.html",
            quotes=quotes,
            total=format_usd(total),
            programs=_programs(pages.base_url(request), models, asked),
        )

    @post("/images", status_code=200)
    async def image(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        files: NamedDependency[FileService],
    ) -> Json:
        """Keep one image for a week: its file id."""
        upload = form.fields.get("image")
        if not isinstance(upload, UploadedFile):
            raise BadRequest("Choose an image file.", param="image")
        return {"file_id": await _kept(upload, visitor, files, "image"), "name": upload.filename}

    @post("/runs", status_code=303, opt={"limit": "create"})
    async def run(
        self,
        *,
        request: AnyRequest,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
        files: NamedDependency[FileService],
        limits: NamedDependency[RequestLimits],
        catalogue: NamedDependency[Catalogue],
    ) -> Response[None]:
        """Make a video with each chosen model, for no more than was shown. What is refused holds up no other."""
        models = public(wanted(form, makers(visitor, catalogue)), visitor)
        asked = fields(form)
        asked |= await _images(asked, visitor, files)
        made: list[str] = []
        refused: list[tuple[str, ApiError]] = []
        for n, model in enumerate(models):
            body = {**body_for(model, asked), **no_more_than_shown(form, model["id"])}
            try:
                if n:  # the first one is counted with the request
                    await limits.check(visitor.principal, "create")
                video = await videos.create(call_of(request, body), body)
            except ApiError as error:
                refused.append((model["id"], error))
            else:
                made += video.get("group", [video["id"]])
        if not made:
            raise refused[0][1]
        told = " ".join(f"{name} refused it: {error.message}" for name, error in refused)
        return redirect(f"/playground?run={','.join(made[:MOST_RUNS])}#runs", done=told or None)

    @get("/runs/{video_id:str}")
    async def one_run(
        self,
        request: AnyRequest,
        video_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show one run as it is now."""
        video = await videos.retrieve(visitor.principal, video_id)
        return pages.show(request, "playground/run.html", video=video, ended=ENDED)

    @get("/recent")
    async def recent(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show the visitor's latest videos as they are now."""
        recent = await _recent(videos, visitor)
        return pages.show(request, "playground/recent.html", recent=recent, ended=ENDED)


async def _recent(videos: VideoService, visitor: Visitor) -> list[Json]:
    found, _ = await videos.search(visitor.principal, Wanted(key_id=visitor.user_id, limit=_RECENT))
    return found


async def _images(said: Mapping[str, Any], visitor: Visitor, files: FileService) -> Json:
    """Keep the images that came along with the form, as they do without JavaScript."""

    async def named(name: str, given: Any) -> Any:
        return (
            {"file_id": await _kept(given, visitor, files, name)}
            if isinstance(given, UploadedFile)
            else given
        )

    return {
        name: [await named(name, each) for each in said[name]]
        if isinstance(said[name], list)
        else await named(name, said[name])
        for name in _IMAGES
        if name in said
    }


async def _kept(upload: UploadedFile, visitor: Visitor, files: FileService, param: str) -> str:
    new = NewFile(upload.path, upload.size, upload.filename, "vision", _IMAGE_SECONDS)
    _, made = await files.create(visitor.project_id, new)
    file_id = str(made["id"])
    if not (await files.retrieve(visitor.project_id, file_id))["media_type"].startswith("image/"):
        await files.delete(visitor.project_id, file_id)
        raise BadRequest(
            f"'{upload.filename}' is no image that can be read: choose a JPEG, PNG or WebP.",
            param=param,
            code="invalid_media",
        )
    return file_id


def _programs(base_url: str, models: Sequence[Json], said: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    if not models:
        return []
    return snippets(base_url, body_for(models[0], {"prompt": "your prompt", **said})).labelled()
