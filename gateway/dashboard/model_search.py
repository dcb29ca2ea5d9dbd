"""Which models of the catalogue somebody looks for. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from gateway.upstreams.standing import Standing, joined
from gateway.videos.routing import Model
from providers.contract import MediaRole, Operation
from providers.spec import ModelSpec

ABILITIES: Final[Mapping[str, tuple[str, Callable[[ModelSpec], bool]]]] = {
    "text": (
        "Text to video",
        lambda spec: Operation.GENERATE in spec.operations and not spec.required_roles,
    ),
    "image": ("Image to video", lambda spec: MediaRole.FIRST_FRAME in spec.roles),
    "last": ("Last frame", lambda spec: MediaRole.LAST_FRAME in spec.roles),
    "reference": ("Reference images", lambda spec: MediaRole.REFERENCE in spec.roles),
    "extend": ("Extend", lambda spec: Operation.EXTEND in spec.operations),
    "edit": ("Edit", lambda spec: Operation.EDIT in spec.operations),
    "remix": ("Remix", lambda spec: Operation.REMIX in spec.operations),
    "audio": ("Sound", lambda spec: spec.audio in {"optional", "always"}),
    "seed": ("Seed", lambda spec: "seed" in spec.parameters),
}
SORTS: Final = {"": "In order of preference", "name": "By name", "price": "Cheapest second first"}
UNITS: Final = {
    "output_second": "a second",
    "clip": "a video",
    "million_tokens": "a million tokens",
    "input_image": "an input image",
    "input_second": "a second of input",
    "gpu_second": "a GPU second",
}


@dataclass(frozen=True, slots=True)
class Looked:
    """What the form of the page says; empty means anything. `up_to`: USD for a second of video."""

    words: tuple[str, ...] = ()
    can: str = ""
    seconds: Decimal | None = None
    up_to: Decimal | None = None
    priced: bool = False
    available: bool = False
    sort: str = ""


def found(
    models: Sequence[Model], looked: Looked, standings: Mapping[str, Standing], margin: Decimal | None
) -> list[Model]:
    """Keep those that fit, in the order asked for."""
    kept = [model for model in models if _fits(model, looked, standings, margin)]
    if looked.sort == "name":
        kept.sort(key=lambda model: model.id)
    elif looked.sort == "price":
        dear = Decimal("Infinity")
        kept.sort(key=lambda model: lowest(model, margin).get("output_second", dear))
    return kept


def standing_of(model: Model, standings: Mapping[str, Standing]) -> Standing:
    """Say it of all the model's routes together."""
    return joined([standings.get(route.upstream.name, "away") for route in model.routes])


def lowest(model: Model, margin: Decimal | None) -> dict[str, Decimal]:
    """Give the lowest price of each unit, whatever its conditions; empty where none is known."""
    prices: dict[str, Decimal] = {}
    for route in model.routes:
        for row, amount in route.book.customer_rows(margin):
            prices[row.unit] = min(amount, prices.get(row.unit, amount))
    return prices


def abilities(model: Model) -> list[str]:
    """Name what any of its routes can do."""
    specs = [route.spec for route in model.routes]
    return [label for label, can in ABILITIES.values() if any(map(can, specs))]


def longest(model: Model) -> Decimal | None:
    """Give the longest video that it makes at once; None where it makes none from a prompt."""
    lengths = [
        each
        for route in model.routes
        if Operation.GENERATE in route.spec.operations
        for each in route.spec.seconds
    ]
    return max(lengths, default=None)


def card(model: Model, standings: Mapping[str, Standing], margin: Decimal | None) -> dict[str, Any]:
    """Gather what the list shows of a model."""
    first = model.routes[0].spec
    seconds = longest(model)
    return {
        "id": model.id,
        "description": first.description,
        "status": first.status,
        "licence": first.licence,
        "shutdown_date": model.shutdown_date,
        "abilities": abilities(model),
        "seconds": None if seconds is None else f"{seconds:f}",
        "size": first.size_when_omitted if first.sizes else None,
        "standing": standing_of(model, standings),
        "prices": [(f"{usd:f}", UNITS[unit]) for unit, usd in lowest(model, margin).items()],
    }


def _fits(model: Model, looked: Looked, standings: Mapping[str, Standing], margin: Decimal | None) -> bool:
    text = f"{model.id} {model.routes[0].spec.description}".lower()
    if not all(word in text for word in looked.words):
        return False
    if looked.can and not any(ABILITIES[looked.can][1](route.spec) for route in model.routes):
        return False
    if looked.seconds is not None and (longest(model) or 0) < looked.seconds:
        return False
    if looked.available and standing_of(model, standings) == "away":
        return False
    if not looked.priced and looked.up_to is None:
        return True
    prices = lowest(model, margin)
    if looked.up_to is not None:
        return "output_second" in prices and prices["output_second"] <= looked.up_to
    return bool(prices)
