"""What the playground asks for: the models that make a video from a prompt, and the fields of the form."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar import Request

from gateway.dashboard.form import Form
from gateway.dashboard.programs import request_fields
from gateway.errors import ApiError, BadRequest
from gateway.http.models import allowed, public_model
from gateway.members.sessions import Visitor
from gateway.videos.routing import Catalogue, Model
from gateway.videos.service import VideoService
from providers.contract import Operation

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
MOST_MODELS: Final = 4
MOST_RUNS: Final = 12
_OF_THE_ADDRESS: Final = ("run", "from", "model", "models[]")


def makers(visitor: Visitor, catalogue: Catalogue) -> list[Model]:
    """List the models that make a video from a prompt and that the visitor may use."""
    return [
        model for model in allowed(visitor.principal, catalogue) if Operation.GENERATE in model.operations
    ]


def public(models: Sequence[Model], visitor: Visitor) -> list[Json]:
    """Say what these can do, as `gateway.dashboard.model_form` reads it."""
    return [public_model(model, [], visitor.principal.margin) for model in models]


def wanted(form: Form, known: Sequence[Model]) -> list[Model]:
    """Find the models that the form names. BadRequest for none or too many."""
    names = form.texts("models")
    found = [model for model in known if model.id in names]
    if not found:
        raise BadRequest("Choose a model.", param="models")
    if len(found) > MOST_MODELS:
        raise BadRequest(f"Choose at most {MOST_MODELS} models.", param="models")
    return found


def chosen(known: Sequence[Model], names: Sequence[str], catalogue: Catalogue) -> list[Model]:
    """Find the models that the address names; else the one that a request without a model gets."""
    found = [model for model in known if model.id in names][:MOST_MODELS]
    if found or not known:
        return found
    try:
        default = catalogue.resolve(None).id
    except ApiError:
        default = known[0].id
    return [next((model for model in known if model.id == default), known[0])]


def fields(form: Form) -> Json:
    """Read everything of the form but its models and the prices that it showed."""
    said = {name: value for name, value in form.fields.items() if name not in ("models", "quoted")}
    text = form.text("provider_options")
    if text is not None:
        try:
            said["provider_options"] = json.loads(text)
        except ValueError:
            raise BadRequest('Write the options as JSON: {"name": 1}.', param="provider_options") from None
    return said


def no_more_than_shown(form: Form, model: str) -> Json:
    """The field that keeps a create from costing more than the form said."""
    shown = form.fields.get("quoted")
    price = shown.get(model) if isinstance(shown, dict) else None
    return {"max_cost": price} if isinstance(price, str) else {}


async def runs_of(request: AnyRequest, videos: VideoService, visitor: Visitor) -> list[Json]:
    """Find the videos that the address names, but those that were deleted meanwhile."""
    ids = [each for each in request.query_params.get("run", "").split(",") if each][:MOST_RUNS]
    found: list[Json] = []
    for video_id in ids:
        try:
            found.append(await videos.retrieve(visitor.principal, video_id))
        except ApiError:
            continue
    return found


async def said(request: AnyRequest, videos: VideoService, visitor: Visitor, runs: Sequence[Json]) -> Json:
    """What the form begins with, `models` by name: an earlier video's request, and what the address says."""
    given = request.query_params
    models = given.getall("model", []) + given.getall("models[]", [])
    asked: Json = {name: value for name, value in given.items() if name not in _OF_THE_ADDRESS}
    source = given.get("from") or (runs[0]["id"] if runs else None)
    if source:
        try:
            video = await videos.retrieve(visitor.principal, source)
            request_of_it = await videos.requested(visitor.principal, source)
        except ApiError:
            return {**asked, "models": models}
        asked = _filled(request_fields(video, request_of_it)) | asked
        models = models or [run["model"] for run in runs] or [video["model"]]
    return {**asked, "models": list(dict.fromkeys(models))}


def _filled(request: Mapping[str, Any]) -> Json:
    """An earlier request as the text of a form."""
    texts = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in request.items()
        if value not in (None, "", {}) and name != "metadata"
    }
    if options := texts.get("provider_options"):
        texts["provider_options"] = json.dumps(options, indent=2)
    return texts
