"""What a request costs and what the client is told beforehand: prices, max_cost, warnings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from billing.money import format_usd
from billing.prices import Shape, UnknownPrice
from gateway.errors import BadRequest
from gateway.videos.inputs import Accepted
from gateway.videos.price_book import RoutePrice
from gateway.videos.routing import Route
from gateway.videos.stored import pixels_of, route_key
from providers.contract import MediaRole

_MUST_MATCH: Final = (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME)
_CLIPS: Final = frozenset({MediaRole.CHARACTER, MediaRole.SOURCE, MediaRole.EXTEND_FROM})

_MOST_KNOWN: Final = 1024

BillingMode = Literal["off", "prepaid", "postpaid"]


@dataclass(frozen=True, slots=True)
class Quoted:
    """One route and what a video costs on it; `price` None where that is not known, and why."""

    route: Route
    shape: Shape
    price: RoutePrice | None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """What is agreed when a video is accepted. Of several routes the dearest is held, the one that delivers charged.

    `free`: billing is off for the organization, so a price may be unknown and nothing is refused.
    """

    video_micros: int
    routes: tuple[Quoted, ...]
    free: bool
    packed: dict[str, Any]  # the same as `StoredRequest.prices`


class Prices:
    """Remembers what was priced: most requests are like one before. A book that was compiled anew is another one."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Price] = {}

    def priced(
        self, routes: Sequence[Route], shape: Shape, margin: Decimal | None, mode: BillingMode
    ) -> Price:
        """Do what `priced` does."""
        key = (shape, margin, mode, *[route.book for route in routes])
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[key] = priced(routes, shape, margin, mode)
        return found


def is_free(mode: BillingMode) -> bool:
    """Tell whether prices may be unknown: the one place that decides it."""
    return mode == "off"


def priced(routes: Sequence[Route], shape: Shape, margin: Decimal | None, mode: BillingMode) -> Price:
    """Price the routes and keep those that may run. BadRequest (price_unknown) where no price is known.

    With billing off an unknown price is no obstacle: it costs nothing and is recorded as unknown.
    """
    free = is_free(mode)
    quoted = [_quoted(route, shape, margin) for route in routes]
    kept = quoted if free else [each for each in quoted if each.price is not None]
    if not kept:
        raise BadRequest(
            f"The price of '{routes[0].spec.id}' is not known for this request ({quoted[0].unknown}), so it cannot "
            "run while billing is on: choose another model or shape, or ask the operator to set its prices.",
            param="model",
            code="price_unknown",
        )
    dearest = max((each.price.micros for each in kept if each.price is not None), default=0)
    return Price(dearest, tuple(kept), free, _packed(kept, free=free))


def with_audio(
    routes: Sequence[Route], parameters: Mapping[str, Any]
) -> tuple[tuple[Route, ...], dict[str, Any]]:
    """Say explicitly whether there is sound, where the client left it open and the first route has a default."""
    first = routes[0].spec
    if first.default_audio is None or "audio" in parameters or "audio" not in first.parameters:
        return tuple(routes), dict(parameters)
    able = tuple(route for route in routes if "audio" in route.spec.parameters)
    return able, {**parameters, "audio": first.default_audio}


def shape_of(
    seconds: Decimal,
    size: str,
    operation: str,
    *,
    tier: str,
    parameters: Mapping[str, Any],
    media: Sequence[Accepted],
    source_seconds: Decimal = Decimal(0),
) -> Shape:
    """Describe what is priced. `source_seconds`: of the video that is worked on, where there is one."""
    width, height = pixels_of(size) or (0, 0)
    input_seconds: Decimal | None = source_seconds
    if media and any(each.role is MediaRole.CHARACTER for each in media):
        input_seconds = None  # the length of a character's clip is not kept
    return Shape(
        seconds,
        width,
        height,
        audio=parameters.get("audio"),
        operation=operation,
        service_tier=tier,
        fps=parameters.get("fps"),
        input_images=sum(each.role not in _CLIPS for each in media) if media else 0,
        input_seconds=input_seconds,
    )


def check_max_cost(max_cost: Decimal | None, price: Price, n: int) -> None:
    """BadRequest (max_cost_exceeded) if all n videos together cost more than the client allows."""
    total = price.video_micros * n
    if max_cost is not None and total > max_cost * 1_000_000:
        raise BadRequest(
            f"This request costs {format_usd(total)} USD, more than max_cost {max_cost:f}: "
            "raise max_cost, or ask for fewer or shorter videos.",
            param="max_cost",
            code="max_cost_exceeded",
        )


def warnings_of(routes: Sequence[Route], prompt: str, size: str, media: Sequence[Accepted]) -> list[str]:
    """Say what the client might not expect of the result, or of the bill."""
    route = routes[0]
    warnings = list(route.spec.warnings)
    if route.spec.prompt_world is not None:
        warnings += route.spec.prompt_world.warnings(prompt)
    warnings += [
        f"What the moderation of '{each.upstream.name}' refuses is charged all the same."
        for each in routes
        if each.book.rejection_charged
    ]
    native = route.spec.native_size
    if native is not None and native != size and not any(native in text for text in warnings):
        warnings.append(f"The model generates at {native}; the result is scaled to {size}.")
    if route.spec.shape_follows_input:
        return [*warnings, "The picture has the shape of the input; the size only chooses its resolution."]
    for each in media:
        found = f"{each.width}x{each.height}"
        if each.role in _MUST_MATCH and each.width is not None and found != size:
            warnings.append(f"{each.param} is {found}, the video {size}: the image is adapted to fit.")
    return warnings


def _quoted(route: Route, shape: Shape, margin: Decimal | None) -> Quoted:
    shape = route.shape(shape)
    try:
        return Quoted(route, shape, route.book.price(shape, margin))
    except UnknownPrice as error:
        return Quoted(route, shape, None, str(error))


def _packed(quoted: Sequence[Quoted], *, free: bool) -> dict[str, Any]:
    """Write down what is agreed, for `StoredRequest.agreed`."""
    shape = quoted[0].shape
    routes = {_key(each.route): each.price.packed for each in quoted if each.price is not None}
    packed: dict[str, Any] = {"routes": routes}
    if free:
        packed["free"] = True
    if shape.service_tier != "default":
        packed["tier"] = shape.service_tier
    if shape.input_images:
        packed["images"] = shape.input_images
    if shape.input_seconds != 0:
        packed["input_seconds"] = None if shape.input_seconds is None else f"{shape.input_seconds:f}"
    return packed


def _key(route: Route) -> str:
    return route_key(route.upstream.name, route.spec.upstream_id)
