"""/v1/models: what this installation offers, in OpenAI's shape plus what each model can do and costs."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import PathParameter
from pydantic import BaseModel, ConfigDict

from gateway.errors import ApiError, NotFound
from gateway.http.openapi import documented
from gateway.principal import Principal
from gateway.settings import Settings
from gateway.videos.routing import BUILT_IN_ALIASES, Catalogue, Model, Route
from providers.contract import Operation
from providers.price_rows import Confidence, PriceRow
from providers.spec import ModelSpec, SoundMode, Status

_UNDATED: Final = 1_767_225_600  # 2026-01-01: OpenAI's shape wants a time for every model


class Price(BaseModel):
    """What one unit costs on one upstream, and for which videos: a condition that is null holds for all.

    `usd` is a decimal string, null where nobody set it. Of several rows of a unit the narrowest that holds applies.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    upstream: str
    unit: Literal["output_second", "clip", "million_tokens", "input_image", "input_second", "gpu_second"] = (
        "output_second"
    )
    usd: str | None
    up_to_short_edge: int | None = None
    up_to_seconds: str | None = None
    audio: bool | None = None
    operations: list[str] | None = None
    service_tiers: list[str] | None = None
    default_fps: int | None = None
    max_gpu_seconds: str | None = None
    source: str | None = None
    as_of: str | None = None
    confidence: Confidence | None = None


class Capabilities(BaseModel):
    """What a request may ask for. `required_inputs` are those it must have; a limit that is null is not known.

    `audio`: no sound, a choice (the parameter `audio`), or always; null where nobody says. Lengths in seconds.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    operations: list[str]
    inputs: list[str]
    required_inputs: list[str]
    parameters: list[str]
    seconds: list[str]
    extension_seconds: list[str]
    sizes: list[str]
    resolutions: list[str]
    aspect_ratios: list[str]
    default_seconds: str | None
    default_size: str | None
    audio: SoundMode | None
    default_audio: bool | None
    max_prompt_chars: int
    max_reference_images: int
    max_image_bytes: int | None
    max_video_bytes: int | None
    max_source_seconds: str | None
    max_seconds_at: dict[str, str]


class PublicModel(BaseModel):
    """One model. `confidence` and `source`: who says what it can do, `as_of` when that was so; null where the operator
    wrote it. A model without a price does not run while billing is on.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    status: Status
    released: str | None
    shutdown_date: str | None
    replacement: str | None
    description: str
    native_size: str | None
    licence: str | None
    terms: str | None
    source: str | None
    as_of: str | None
    confidence: Confidence | None
    capabilities: Capabilities
    prices: list[Price]
    warnings: list[str]
    aliases: list[str]


class ModelList(BaseModel):
    """Every model; this list has no pages."""

    object: Literal["list"] = "list"
    data: list[PublicModel]


def aliases(catalogue: Catalogue, settings: Settings) -> dict[str, list[str]]:
    """Find the other names of each model, by its id."""
    found: dict[str, list[str]] = {}
    for name in sorted({*settings.aliases, *BUILT_IN_ALIASES}):
        with suppress(ApiError):  # an alias of a model that is not there (yet) is no name of any
            target = catalogue.resolve(name).id
            if target != name:
                found.setdefault(target, []).append(name)
    return found


def public_model(model: Model, aliases: list[str], margin: Decimal | None) -> dict[str, Any]:
    """Show a model: what any of its routes can do, the defaults of the first. Prices are those with this `margin`."""
    specs = [route.spec for route in model.routes]
    first = specs[0]
    return PublicModel(
        id=model.id,
        created=_created(first),
        owned_by=model.routes[0].upstream.name,
        status=first.status,
        released=first.released,
        shutdown_date=model.shutdown_date,
        replacement=model.replacement,
        description=first.description,
        native_size=first.native_size,
        licence=first.licence,
        terms=first.terms,
        source=first.source,
        as_of=None if first.as_of is None else first.as_of.isoformat(),
        confidence=first.confidence,
        capabilities=_capabilities(specs),
        prices=[price for route in model.routes for price in _prices(route, margin)],
        warnings=list(dict.fromkeys(warning for spec in specs for warning in spec.warnings)),
        aliases=aliases,
    ).model_dump(mode="json")


def offered(principal: Principal, catalogue: Catalogue, settings: Settings) -> list[dict[str, Any]]:
    """Show every model that the caller may use, with the prices of its margin."""
    names = aliases(catalogue, settings)
    allowed = [model for model in catalogue.models() if _allowed(principal, model.id)]
    return [public_model(model, names.get(model.id, []), principal.margin) for model in allowed]


class ModelsController(Controller):
    """Read the catalogue."""

    path = "/v1/models"
    tags = ["models"]

    @get(operation_class=documented(answer=ModelList), summary="List models")
    async def list_models(
        self,
        catalogue: NamedDependency[Catalogue],
        settings: NamedDependency[Settings],
        principal: NamedDependency[Principal],
    ) -> dict[str, Any]:
        """List the models that the key may use."""
        return {"object": "list", "data": offered(principal, catalogue, settings)}

    @get("/{model:path}", operation_class=documented(answer=PublicModel), summary="Retrieve a model")
    async def retrieve_model(
        self,
        model: Annotated[str, PathParameter(description="The id, which may contain slashes, or an alias.")],
        catalogue: NamedDependency[Catalogue],
        settings: NamedDependency[Settings],
        principal: NamedDependency[Principal],
    ) -> dict[str, Any]:
        """Show one model by its id or an alias."""
        name = str(model).removeprefix("/")
        found = catalogue.resolve(name)
        if not _allowed(principal, found.id):
            raise NotFound(
                f"The model '{name}' does not exist or this key may not use it.",
                param="model",
                code="model_not_found",
            )
        return public_model(found, aliases(catalogue, settings).get(found.id, []), principal.margin)


def _allowed(principal: Principal, model: str) -> bool:
    return principal.models is None or model in principal.models


def _created(spec: ModelSpec) -> int:
    if spec.released is None:
        return _UNDATED
    return int(datetime.fromisoformat(spec.released).replace(tzinfo=UTC).timestamp())


def _prices(route: Route, margin: Decimal | None) -> list[Price]:
    rows = route.book.customer_rows(margin)
    name = route.upstream.name
    return [_price(name, row, amount) for row, amount in rows] or [Price(upstream=name, usd=None)]


def _price(upstream: str, row: PriceRow, amount: Decimal) -> Price:
    conditions = row.model_dump(
        mode="json",
        include={
            "unit",
            "up_to_short_edge",
            "up_to_seconds",
            "audio",
            "default_fps",
            "max_gpu_seconds",
            "source",
            "as_of",
            "confidence",
        },
    )
    return Price(
        upstream=upstream,
        usd=f"{amount:f}",
        operations=None if row.operations is None else sorted(row.operations),
        service_tiers=None if row.service_tiers is None else sorted(row.service_tiers),
        **conditions,
    )


def _capabilities(specs: list[ModelSpec]) -> Capabilities:
    """Join what the routes can do; the limits and defaults are those of the first."""
    first = specs[0]
    generates = Operation.GENERATE in first.operations
    longest = first.max_source_seconds
    return Capabilities(
        operations=sorted({str(each) for spec in specs for each in spec.operations}),
        inputs=sorted({str(each) for spec in specs for each in spec.roles}),
        required_inputs=sorted(first.required_roles),
        parameters=sorted({each for spec in specs for each in spec.parameters}),
        seconds=_lengths(each for spec in specs for each in spec.seconds),
        extension_seconds=_lengths(
            each
            for spec in specs
            if Operation.EXTEND in spec.operations
            for each in spec.lengths_of(Operation.EXTEND)
        ),
        sizes=list(dict.fromkeys(each for spec in specs for each in spec.sizes)),
        resolutions=list(dict.fromkeys(each for spec in specs for each in spec.resolutions)),
        aspect_ratios=list(dict.fromkeys(each for spec in specs for each in spec.aspect_ratios)),
        default_seconds=f"{first.seconds_when_omitted:f}" if generates else None,
        default_size=first.size_when_omitted if generates else None,
        audio=first.audio,
        default_audio=first.default_audio,
        max_prompt_chars=max(spec.max_prompt_chars for spec in specs),
        max_reference_images=max(spec.max_reference_images for spec in specs),
        max_image_bytes=first.max_image_bytes,
        max_video_bytes=first.max_video_bytes,
        max_source_seconds=None if longest is None else f"{longest:f}",
        max_seconds_at={name: f"{seconds:f}" for name, seconds in first.max_seconds_at.items()},
    )


def _lengths(seconds: Iterable[Decimal]) -> list[str]:
    return [f"{each:f}" for each in sorted(set(seconds))]
