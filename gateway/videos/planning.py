"""From a parsed body to a plan: model and routes, then the sources, then the files, then the price."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.errors import BadRequest
from gateway.principal import Principal
from gateway.settings import Settings
from gateway.videos.capabilities import Demand, Selection, select
from gateway.videos.create import Plan
from gateway.videos.fields import ImageRef
from gateway.videos.input_limits import taking
from gateway.videos.inputs import Accepted, Inputs
from gateway.videos.quoting import Prices, check_max_cost, is_free, shape_of, warnings_of, with_audio
from gateway.videos.request import CreateBody, EditBody, ExtendBody, RemixBody, VideoBody
from gateway.videos.routing import Catalogue, Model, Route
from gateway.videos.sources import Source, Sources, require_bytes
from gateway.videos.terms import check_plan, fee_warning
from providers.contract import MediaRole, Operation


class Planner:
    """Checks requests against the catalogue. Cheap refusals come before any file is opened."""

    def __init__(self, catalogue: Catalogue, settings: Settings, inputs: Inputs, sources: Sources) -> None:
        self._catalogue = catalogue
        self._prices = Prices()
        self._limits = settings.limits
        self._inputs = inputs
        self._sources = sources

    @asynccontextmanager
    async def generate(self, principal: Principal, body: CreateBody) -> AsyncIterator[Plan]:
        """Plan a create; files it made lie there until the block ends."""
        self._check_common(body)
        images, parameters = images_of(body), body.parameters()
        demand = Demand(
            prompt_chars=len(body.prompt),
            seconds=body.seconds,
            size=body.size,
            aspect_ratio=body.aspect_ratio,
            resolution=body.resolution,
            roles=_roles(body, images),
            reference_images=len(body.reference_images or ()),
            parameters=frozenset(parameters),
            provider_options=frozenset(body.provider_options),
            free=is_free(principal.billing_mode),
        )
        model = self._allowed(principal, body.model)
        chosen = select(self._catalogue, model, demand)
        fallbacks = self._fallbacks(principal, body, demand, chosen, model)
        temporary: list[Path] = []
        try:
            media = [
                await self._inputs.image(principal.project_id, ref, role, param, temporary)
                for role, param, ref in images
            ]
            if body.characters:
                media += await self._inputs.characters(principal.project_id, body.characters)
            yield self._plan(
                principal,
                Operation.GENERATE,
                body,
                [model, *fallbacks],
                chosen.routes + tuple(route for each in fallbacks for route in each.routes),
                seconds=chosen.seconds,
                size=chosen.size,
                parameters=parameters,
                media=media,
            )
        finally:
            _remove(temporary)

    async def remix(self, principal: Principal, video_id: str, body: RemixBody) -> Plan:
        """Plan a remix of one of the project's videos."""
        self._check_common(body)
        source = await self._sources.of_video(principal.project_id, video_id, Operation.REMIX, "video_id")
        return self._on_source(principal, body, Operation.REMIX, source, "video_id")

    async def edit(self, principal: Principal, body: EditBody) -> Plan:
        """Plan an edit: the length and size of the source stay."""
        self._check_common(body)
        source = await self._sources.of_ref(principal.project_id, body.video, Operation.EDIT)
        return self._on_source(principal, body, Operation.EDIT, source, "video")

    async def extend(self, principal: Principal, body: ExtendBody) -> Plan:
        """Plan an extension: the result is the source and `seconds` more, in one file."""
        self._check_common(body)
        source = await self._sources.of_ref(principal.project_id, body.video, Operation.EXTEND)
        return self._on_source(principal, body, Operation.EXTEND, source, "video", added=body.seconds)

    def _on_source(
        self,
        principal: Principal,
        body: VideoBody,
        operation: Operation,
        source: Source,
        param: str,
        *,
        added: Decimal | None = None,
    ) -> Plan:
        model = self._allowed(principal, body.model or source.model)
        parameters = body.parameters()
        demand = Demand(
            operation=operation,
            prompt_chars=len(body.prompt),
            seconds=added or source.seconds,
            size=source.size,
            parameters=frozenset(parameters),
            source_upstream=source.upstream,
            provider_options=frozenset(body.provider_options),
            free=is_free(principal.billing_mode),
        )
        routes = select(self._catalogue, model, demand).routes
        pinned = operation in routes[0].spec.needs_handle
        if not pinned:
            routes = _taking_sources(routes, require_bytes(source, param), model, operation)
        total = source.seconds + added if added is not None else source.seconds
        if total > self._limits.video_seconds:
            raise BadRequest(
                f"The result would be {total:f} s long, the limit is {self._limits.video_seconds} s.",
                param="seconds" if added is not None else param,
                code="video_too_long",
            )
        return self._plan(
            principal,
            operation,
            body,
            [model],
            routes,
            seconds=added or source.seconds,
            source_seconds=source.seconds,
            total_seconds=total,
            size=source.size,
            parameters=parameters,
            media=[] if pinned or source.media is None else [source.media],
            source_video_id=source.video_id,
            pinned_attempt_id=source.attempt_id if pinned else None,
        )

    def _plan(
        self,
        principal: Principal,
        operation: Operation,
        body: VideoBody,
        models: Sequence[Model],
        routes: Sequence[Route],
        *,
        seconds: Decimal,
        size: str,
        parameters: dict[str, Any],
        media: Sequence[Accepted],
        source_seconds: Decimal = Decimal(0),
        total_seconds: Decimal | None = None,
        source_video_id: str | None = None,
        pinned_attempt_id: str | None = None,
    ) -> Plan:
        names = tuple(model.id for model in models)
        check_plan(principal, names, seconds=total_seconds or seconds, size=size)
        routes = taking(models[0], tuple(routes), media, source_seconds)
        routes, parameters = with_audio(routes, parameters)
        shape = shape_of(
            seconds,
            size,
            operation,
            tier=body.service_tier,
            parameters=parameters,
            media=media,
            source_seconds=source_seconds,
        )
        price = self._prices.priced(routes, shape, principal.margin, principal.billing_mode)
        check_max_cost(body.max_cost, price, body.n)
        usable = tuple(each.route for each in price.routes)
        return Plan(
            operation=operation,
            body=body,
            routes=usable,
            models=names,
            seconds=seconds,
            total_seconds=total_seconds or seconds,
            size=size,
            price=price,
            parameters=parameters,
            media=tuple(media),
            warnings=(
                *fee_warning(principal.plan),
                *(text for model in models for text in self._catalogue.warnings(model)),
                *warnings_of(usable, body.prompt, size, media),
            ),
            source_video_id=source_video_id,
            pinned_attempt_id=pinned_attempt_id,
        )

    def _check_common(self, body: VideoBody) -> None:
        if body.webhook_url is not None:
            self._inputs.check_url(body.webhook_url, "webhook_url")

    def _allowed(self, principal: Principal, name: str | None, param: str = "model") -> Model:
        """Resolve a model that the key may use; a key may be limited by alias or by the model's own name."""
        model = self._catalogue.resolve(name, param)
        if principal.models is None or name not in principal.models:
            principal.require_model(model.id)
        return model

    def _fallbacks(
        self, principal: Principal, body: CreateBody, demand: Demand, chosen: Selection, model: Model
    ) -> list[Model]:
        """Resolve the fallbacks: each must be able to make exactly what the first model is asked for."""
        explicit = replace(
            demand, seconds=chosen.seconds, size=chosen.size, aspect_ratio=None, resolution=None
        )
        found: list[Model] = []
        for n, name in enumerate(body.fallbacks):
            param = f"fallbacks[{n}]"
            fallback = self._allowed(principal, name, param)
            try:
                routes = select(self._catalogue, fallback, explicit).routes
            except BadRequest as error:
                raise BadRequest(error.message, param=param, code=error.code) from error
            if fallback.id != model.id and fallback.id not in [each.id for each in found]:
                found.append(Model(fallback.id, routes))
        return found


def images_of(body: CreateBody) -> list[tuple[MediaRole, str, ImageRef]]:
    """List the input images of a create with their role and the field they came in."""
    found: list[tuple[MediaRole, str, ImageRef]] = []
    if body.first_image is not None:
        param = "input_reference" if body.input_reference is not None else "first_frame"
        found.append((MediaRole.FIRST_FRAME, param, body.first_image))
    if body.last_frame is not None:
        found.append((MediaRole.LAST_FRAME, "last_frame", body.last_frame))
    found += [
        (MediaRole.REFERENCE, f"reference_images[{n}]", ref)
        for n, ref in enumerate(body.reference_images or ())
    ]
    return found


def _roles(body: CreateBody, images: Sequence[tuple[MediaRole, str, ImageRef]]) -> frozenset[MediaRole]:
    roles = {role for role, _, _ in images}
    return frozenset(roles | {MediaRole.CHARACTER} if body.characters else roles)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _taking_sources(
    routes: tuple[Route, ...], media: Accepted, model: Model, operation: Operation
) -> tuple[Route, ...]:
    able = tuple(route for route in routes if media.role in route.spec.roles)
    if not able:
        raise BadRequest(
            f"'{model.id}' does not take a video to {operation}: name another model.",
            param="model",
            code="unsupported_value",
        )
    return able
