"""What a request costs and what the client is told beforehand: prices, max_cost, warnings."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from billing.money import format_usd, to_micros
from billing.prices import price_micros
from gateway.errors import BadRequest
from gateway.videos.inputs import Accepted
from gateway.videos.routing import Route
from gateway.videos.stored import route_key
from providers.contract import MediaRole

_MUST_MATCH: Final = (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME)

BillingMode = Literal["off", "prepaid", "postpaid"]


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-USD: per second of output, and for one video. With several routes it is the dearest one's."""

    per_second_micros: int
    video_micros: int


def priced(routes: Sequence[Route], mode: BillingMode) -> tuple[Route, ...]:
    """Keep the routes that may run. BadRequest (price_unknown) when billing is on and none has a price."""
    if mode == "off":
        return tuple(routes)
    known = tuple(route for route in routes if route.spec.price_per_second_usd is not None)
    if not known:
        raise BadRequest(
            f"The price of '{routes[0].spec.id}' is not known yet, so it cannot run while billing is on: "
            "choose another model, or ask the operator to set price_per_second_usd.",
            param="model",
            code="price_unknown",
        )
    return known


def price_of(routes: Sequence[Route], seconds: Decimal) -> Price:
    """Price one video; an unknown price counts as zero (only ever with billing off)."""
    rate = max((route.spec.price_per_second_usd or Decimal(0) for route in routes), default=Decimal(0))
    return Price(to_micros(rate), price_micros(rate, seconds))


def cheaper_rates(routes: Sequence[Route], price: Price) -> dict[str, int]:
    """Micro-USD a second of the routes that cost less than what is held; an unknown price is charged as held."""
    rates = {
        route_key(route.upstream.name, route.spec.upstream_id): to_micros(route.spec.price_per_second_usd)
        for route in routes
        if route.spec.price_per_second_usd is not None
    }
    return {key: rate for key, rate in rates.items() if rate < price.per_second_micros}


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


def warnings_of(route: Route, size: str, media: Sequence[Accepted]) -> list[str]:
    """Say what the client might not expect of the result."""
    warnings = list(route.spec.warnings)
    native = route.spec.native_size
    if native is not None and native != size and not any(native in text for text in warnings):
        warnings.append(f"The model generates at {native}; the result is scaled to {size}.")
    for each in media:
        found = f"{each.width}x{each.height}"
        if each.role in _MUST_MATCH and each.width is not None and found != size:
            warnings.append(f"{each.param} is {found}, the video {size}: the image is adapted to fit.")
    return warnings
