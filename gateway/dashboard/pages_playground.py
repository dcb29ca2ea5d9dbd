"""/playground: make a video with one model or several, see its price before, and compare what comes out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency

from billing.money import format_usd, parse_usd
from gateway.dashboard.creating import call_of
from gateway.dashboard.form import Form
from gateway.dashboard.model_form import body_for, fields_of
from gateway.dashboard.page import Pages, redirect
from gateway.dashboard.pages_video import request_fields
from gateway.dashboard.snippets import snippets
from gateway.errors import ApiError, BadRequest
from gateway.files.service import FileService, NewFile
from gateway.http.auth import requires
from gateway.http.body import UploadedFile
from gateway.http.models import offered
from gateway.keys.limits import RequestLimits
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.settings import Settings
from gateway.videos.routing import Catalogue
from gateway.videos.search import Wanted
from gateway.videos.service import VideoService

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
MOST_MODELS: Final = 4
_MOST_RUNS: Final = 12
_RECENT: Final = 8
_ENDED: Final = ("completed", "failed")
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
        settings: NamedDependency[Settings],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show the form, and the runs that the address names."""
        known = offered(visitor.principal, catalogue, settings)
        runs = await _runs(request, videos, visitor)
        said = await _said(request, videos, visitor, runs)
        chosen = _chosen(known, said.pop("models", []), catalogue)
        recent, _ = await videos.search(visitor.principal, Wanted(key_id=visitor.user_id, limit=_RECENT))
        return pages.show(
            request,
            "playground/playground.html",
            models=known,
            chosen=chosen,
            most=MOST_MODELS,
            fields=fields_of(chosen),
            said=said,
            runs=runs,
            recent=recent,
            examples=_examples(catalogue, chosen),
            starting=_starting(catalogue, chosen),
            programs=_programs(pages.base_url(request), chosen, said),
            ended=_ENDED,
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
        settings: NamedDependency[Settings],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Tell what the form would cost now, model by model."""
        chosen = _wanted(form, offered(visitor.principal, catalogue, settings))
        said = _fields(form)
        quotes: list[Json] = []
        total = 0
        for model in chosen:
            try:
                quoted = await videos.quote(visitor.principal, body_for(model, said))
                quotes.append({"model": model["id"], "quote": quoted, "error": None})
                total += parse_usd(quoted["hold"]["amount"])
            except ApiError as error:
                quotes.append({"model": model["id"], "quote": None, "error": error})
        return pages.show(
            request,
            "playground/price.html",
            quotes=quotes,
            total=format_usd(total),
            programs=_programs(pages.base_url(request), chosen, said),
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
        return {"file_id": await _kept(upload, visitor, files), "name": upload.filename}

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
        settings: NamedDependency[Settings],
    ) -> Response[None]:
        """Make a video with each chosen model, for no more than was shown. What is refused holds up no other."""
        chosen = _wanted(form, offered(visitor.principal, catalogue, settings))
        said = _fields(form)
        for name in _IMAGES:  # without JavaScript they come along
            if isinstance(said.get(name), UploadedFile):
                said[name] = {"file_id": await _kept(said[name], visitor, files)}
        made: list[str] = []
        refused: list[tuple[str, ApiError]] = []
        for n, model in enumerate(chosen):
            body = {**body_for(model, said), **_no_more_than_shown(form, model["id"])}
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
        return redirect(f"/playground?run={','.join(made[:_MOST_RUNS])}#runs", done=told or None)


def _no_more_than_shown(form: Form, model: str) -> Json:
    shown = form.fields.get("quoted")
    price = shown.get(model) if isinstance(shown, dict) else None
    return {"max_cost": price} if isinstance(price, str) else {}


async def _kept(upload: UploadedFile, visitor: Visitor, files: FileService) -> str:
    new = NewFile(upload.path, upload.size, upload.filename, "vision", _IMAGE_SECONDS)
    return str((await files.create(visitor.project_id, new))["id"])


def _wanted(form: Form, known: Sequence[Json]) -> list[Json]:
    names = form.texts("models")
    found = [model for model in known if model["id"] in names]
    if not found:
        raise BadRequest("Choose a model.", param="models")
    if len(found) > MOST_MODELS:
        raise BadRequest(f"Choose at most {MOST_MODELS} models.", param="models")
    return found


def _fields(form: Form) -> Json:
    said = {name: value for name, value in form.fields.items() if name not in ("models", "quoted")}
    text = form.text("provider_options")
    if text is not None:
        try:
            said["provider_options"] = json.loads(text)
        except ValueError:
            raise BadRequest('Write the options as JSON: {"name": 1}.', param="provider_options") from None
    return said


async def _runs(request: AnyRequest, videos: VideoService, visitor: Visitor) -> list[Json]:
    ids = [each for each in request.query_params.get("run", "").split(",") if each][:_MOST_RUNS]
    found: list[Json] = []
    for video_id in ids:
        try:
            found.append(await videos.retrieve(visitor.principal, video_id))
        except ApiError:
            continue  # deleted meanwhile
    return found


async def _said(request: AnyRequest, videos: VideoService, visitor: Visitor, runs: Sequence[Json]) -> Json:
    """What the form begins with: an earlier video's request, or what the address says."""
    source = request.query_params.get("from") or (runs[0]["id"] if runs else None)
    given = dict(request.query_params.items())
    said: Json = {name: value for name, value in given.items() if name not in ("run", "from", "model")}
    models = request.query_params.getall("model", []) + request.query_params.getall("models[]", [])
    said.pop("models[]", None)
    if source:
        try:
            video = await videos.retrieve(visitor.principal, source)
            asked = await videos.requested(visitor.principal, source)
        except ApiError:
            return {**said, "models": models}
        filled = {name: value for name, value in request_fields(video, asked).items() if value}
        models = models or [run["model"] for run in runs] or [video["model"]]
        options = filled.pop("provider_options", None)
        said = {**filled, **said}
        said.pop("metadata", None)
        if options:
            said["provider_options"] = json.dumps(options, indent=2)
    return {**said, "models": list(dict.fromkeys(models))}


def _chosen(known: Sequence[Json], names: Sequence[str], catalogue: Catalogue) -> list[Json]:
    found = [model for model in known if model["id"] in names][:MOST_MODELS]
    if found or not known:
        return found
    try:
        default = catalogue.resolve(None).id
    except ApiError:
        default = known[0]["id"]
    return [next((model for model in known if model["id"] == default), known[0])]


def _examples(catalogue: Catalogue, chosen: Sequence[Json]) -> list[str]:
    """Prompts that a model which knows only a few words can draw; for every other a few that show something."""
    worlds = [
        route.spec.prompt_world
        for model in chosen
        for route in catalogue.find(model["id"])
        if route.spec.prompt_world is not None
    ]
    if worlds:
        return [
            worlds[0].example,
            "a yellow square grows over a purple background",
            "a white triangle moves up over a black background",
        ]
    return [
        "a lighthouse at dusk, waves rolling in, slow aerial shot",
        "a paper boat drifts down a rainy street, macro, shallow focus",
    ]


def _starting(catalogue: Catalogue, chosen: Sequence[Json]) -> bool:
    """Whether a chosen model is the bundled worker's: it may have to be loaded first."""
    return any(catalogue.is_local(model["id"]) for model in chosen)


def _programs(base_url: str, chosen: Sequence[Json], said: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    if not chosen:
        return []
    return snippets(base_url, body_for(chosen[0], {"prompt": "your prompt", **said})).labelled()


def link_to(model: str) -> str:
    """The playground with a model chosen."""
    return "/playground?" + urlencode({"model": model}, quote_via=quote)
