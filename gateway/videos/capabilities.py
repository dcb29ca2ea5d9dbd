"""Which routes of a model can do what a request asks for, and what to tell the client when none can."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from gateway.errors import BadRequest
from gateway.videos.routing import Catalogue, Model, Route, listed
from gateway.videos.stored import StoredRequest
from providers.contract import MediaRole, Operation
from providers.sizes import short_edge
from providers.spec import ModelSpec

_ROLE_FIELDS: Final = {
    MediaRole.FIRST_FRAME: "input_reference",
    MediaRole.LAST_FRAME: "last_frame",
    MediaRole.REFERENCE: "reference_images",
    MediaRole.CHARACTER: "characters",
    MediaRole.SOURCE: "video",
    MediaRole.EXTEND_FROM: "video",
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request explicitly asks for; None and empty mean that the client left it to us.

    `free`: the video costs its client nothing.
    `needs_handle` may only be served by the upstream `source_upstream`, which made the source video.
    """

    operation: Operation = Operation.GENERATE
    prompt_chars: int = 0
    seconds: Decimal | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    roles: frozenset[MediaRole] = frozenset()
    reference_images: int = 0
    parameters: frozenset[str] = frozenset()
    source_upstream: str | None = None
    provider_options: frozenset[str] = frozenset()
    free: bool = False


@dataclass(frozen=True, slots=True)
class _Check:
    """One thing asked for: the field at fault, how to call it, who can do it, and what else is on offer."""

    param: str
    what: str
    able: Callable[[ModelSpec], bool]
    offers: Callable[[ModelSpec], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Selection:
    """The routes that can serve, in order, with the length and size filled in."""

    routes: tuple[Route, ...]
    seconds: Decimal
    size: str


def select(catalogue: Catalogue, model: Model, demand: Demand) -> Selection:
    """Keep the routes that can do all of it. BadRequest names the field, what is on offer and who can."""
    routes = model.routes
    for check in _checks(demand):
        able = tuple(route for route in routes if check.able(route.spec))
        if not able:
            raise _refusal(catalogue, model, routes, check)
        routes = able
    routes = _with_handle(model, routes, demand)
    first = routes[0].spec
    seconds = demand.seconds or first.seconds_when_omitted
    size = demand.size or _size_for(first, demand)
    fitting = tuple(route for route in routes if _fits(route.spec, demand, seconds, size))
    if not fitting:
        raise BadRequest(
            f"'{model.id}' makes at most {text_of(first.longest_at(size) or seconds)} s at {size}: "
            "ask for a shorter video or another size.",
            param="seconds",
            code="unsupported_value",
        )
    return Selection(fitting, seconds, size)


def suits(spec: ModelSpec, operation: Operation, request: StoredRequest, prompt_chars: int = 0) -> bool:
    """Whether a route can serve an accepted request as it stands: the same rules as `select`, for the job steps."""
    if operation not in spec.operations or not request.parameters.keys() <= spec.parameters:
        return False
    if not spec.takes_options(request.provider_options, free=request.free):
        return False
    if operation is Operation.GENERATE and not _makes(spec, request.seconds, request.size):
        return False
    if operation is Operation.EXTEND and request.seconds not in spec.lengths_of(operation):
        return False
    if (operation in spec.needs_handle) != (request.pinned_attempt_id is not None):
        return False
    return prompt_chars <= spec.max_prompt_chars and _takes_files(spec, operation, request)


def _takes_files(spec: ModelSpec, operation: Operation, request: StoredRequest) -> bool:
    roles = [media.role for media in request.media]
    return (
        spec.roles.issuperset(roles)
        and (operation is not Operation.GENERATE or spec.required_roles.issubset(roles))
        and roles.count(MediaRole.REFERENCE) <= spec.max_reference_images
        and all(small_enough(spec, media.media_type, media.size) for media in request.media)
    )


def small_enough(spec: ModelSpec, media_type: str, size: int) -> bool:
    """Whether a file is not larger than the model's upstream takes it."""
    most = most_bytes(spec, media_type)
    return most is None or size <= most


def most_bytes(spec: ModelSpec, media_type: str) -> int | None:
    """How large a file the model's upstream takes; None for any."""
    return spec.max_video_bytes if media_type.startswith("video/") else spec.max_image_bytes


def text_of(seconds: Decimal) -> str:
    """Write a length as the API does: "8", "2.5"."""
    return format(seconds.normalize(), "f")


def _checks(demand: Demand) -> Iterable[_Check]:
    operation = demand.operation
    yield _Check(
        "model",
        f"the operation '{operation}'",
        lambda spec: operation in spec.operations,
        lambda spec: spec.operations,
    )
    chars = demand.prompt_chars
    yield _Check(
        "prompt",
        f"a prompt of {chars} characters",
        lambda spec: chars <= spec.max_prompt_chars,
        lambda spec: [f"at most {spec.max_prompt_chars} characters"],
    )
    if (seconds := demand.seconds) is not None and operation in (Operation.GENERATE, Operation.EXTEND):
        yield _Check(
            "seconds",
            f"seconds '{text_of(seconds)}'",
            lambda spec: seconds in spec.lengths_of(operation),
            lambda spec: [text_of(length) for length in sorted(spec.lengths_of(operation))],
        )
    if (size := demand.size) is not None and operation is Operation.GENERATE:
        yield _Check("size", f"size '{size}'", lambda spec: size in spec.sizes, lambda spec: spec.sizes)
    yield from _parameter_checks(demand)
    for role in sorted(demand.roles):
        yield _Check(
            _ROLE_FIELDS[role],
            f"the input '{_ROLE_FIELDS[role]}'",
            lambda spec, role=role: role in spec.roles,  # type: ignore[misc]  # a default binds the loop's value
            lambda spec: [_ROLE_FIELDS[each] for each in sorted(spec.roles)],
        )
    if operation is Operation.GENERATE:
        given = ", ".join(_ROLE_FIELDS[role] for role in sorted(demand.roles))
        yield _Check(
            "input_reference",
            f"a request with {given or 'a prompt alone'}",
            lambda spec: spec.required_roles <= demand.roles,
            lambda spec: [" and ".join(_ROLE_FIELDS[role] for role in sorted(spec.required_roles))],
        )
    if demand.reference_images:
        yield _Check(
            "reference_images",
            f"{demand.reference_images} reference images",
            lambda spec: demand.reference_images <= spec.max_reference_images,
            lambda spec: [f"at most {spec.max_reference_images} images"],
        )


def _parameter_checks(demand: Demand) -> Iterable[_Check]:
    if options := demand.provider_options:
        yield _Check(
            "provider_options",
            f"the provider_options {', '.join(sorted(options))}",
            lambda spec: spec.takes_options(options, free=demand.free),
            lambda spec: sorted(spec.provider_options or ()),
        )
    for name in sorted(demand.parameters):
        yield _Check(
            name,
            f"the parameter '{name}'",
            lambda spec, name=name: name in spec.parameters,  # type: ignore[misc]  # a default binds the loop's value
            lambda spec: sorted(spec.parameters),
        )
    if demand.size is None and (demand.aspect_ratio or demand.resolution):
        yield _Check(
            "aspect_ratio" if demand.aspect_ratio else "resolution",
            f"the shape {' at '.join(filter(None, (demand.aspect_ratio, demand.resolution)))}",
            lambda spec: any(_has_shape(spec, size, demand) for size in spec.sizes),
            lambda spec: [f"size {size}" for size in spec.sizes],
        )


def shaped(size: str, aspect_ratio: str | None, resolution: str | None) -> bool:
    """Whether "WxH" has the ratio ("16:9", to 2 %) and the resolution ("720p": the shorter side)."""
    width, height = (int(side) for side in size.split("x"))
    if resolution is not None and min(width, height) != int(resolution.rstrip("p")):
        return False
    if aspect_ratio is None:
        return True
    across, down = (int(part) for part in aspect_ratio.split(":"))
    return abs(Fraction(width, height) / Fraction(across, down) - 1) <= Fraction(2, 100)


def _size_for(spec: ModelSpec, demand: Demand) -> str:
    if not (demand.aspect_ratio or demand.resolution):
        return spec.size_when_omitted
    return next(size for size in spec.sizes if _has_shape(spec, size, demand))


def _has_shape(spec: ModelSpec, size: str, demand: Demand) -> bool:
    """Whether a size is of the ratio and resolution asked for: an upstream's own frames are what it calls them."""
    if not any(size in shapes.values() for shapes in spec.frames.values()):
        return shaped(size, demand.aspect_ratio, demand.resolution)
    resolution, ratio = spec.words_of(size)
    asked = demand.resolution
    return demand.aspect_ratio in (None, ratio) and (
        asked is None or (resolution is not None and short_edge(resolution) == short_edge(asked))
    )


def _fits(spec: ModelSpec, demand: Demand, seconds: Decimal, size: str) -> bool:
    """Whether a later route offers what the first one filled in."""
    if demand.operation is not Operation.GENERATE:
        return True
    return _makes(spec, seconds, size)


def _makes(spec: ModelSpec, seconds: Decimal, size: str) -> bool:
    longest = spec.longest_at(size)
    return seconds in spec.seconds and size in spec.sizes and (longest is None or seconds <= longest)


def _with_handle(model: Model, routes: tuple[Route, ...], demand: Demand) -> tuple[Route, ...]:
    """Drop routes that work only on results of their own when the source is not one of them."""
    able = tuple(
        route
        for route in routes
        if demand.operation not in route.spec.needs_handle or route.upstream.name == demand.source_upstream
    )
    if not able:
        raise BadRequest(
            f"'{model.id}' can only {demand.operation} videos that it made itself; "
            "name one of those, or another model.",
            param="video",
            code="source_not_supported",
        )
    # A pinned route leaves no choice; one that takes bytes never follows one that needs the handle.
    if demand.operation in able[0].spec.needs_handle:
        return able[:1]
    return tuple(route for route in able if demand.operation not in route.spec.needs_handle)


def _refusal(catalogue: Catalogue, model: Model, routes: tuple[Route, ...], check: _Check) -> BadRequest:
    offered = list(dict.fromkeys(offer for route in routes for offer in check.offers(route.spec)))
    others = [
        other.id
        for other in catalogue.models()
        if other.id != model.id and any(check.able(route.spec) for route in other.routes)
    ]
    supported = ", ".join(listed(offered)) or "nothing of this kind"
    elsewhere = f"Models that do: {', '.join(listed(others))}." if others else "No other model here does."
    return BadRequest(
        f"'{model.id}' does not support {check.what}. It supports: {supported}. {elsewhere}",
        param=check.param,
        code="unsupported_value",
    )
