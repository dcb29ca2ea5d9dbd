"""What a video costs: rates of the agreed price book, applied to what was asked and to what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from billing.money import LARGEST, MICROS, to_micros

_MILLION: Final = 1_000_000
_TOKEN_PIXELS: Final = 1024
_INPUTS: Final = frozenset({"input_image", "input_second"})


class UnknownPrice(ValueError):
    """There is no price, or a quantity is not known: never zero by default."""


@dataclass(frozen=True, slots=True)
class Rate:
    """USD for one unit, for videos up to a short edge (pixels) and a length (seconds); None is without bound."""

    unit: str
    amount: Decimal
    up_to_edge: int | None = None
    up_to_seconds: Decimal | None = None
    fps: int | None = None
    extra_frames: int = 0
    max_gpu_seconds: Decimal | None = None

    def covers(self, edge: int, seconds: Decimal) -> bool:
        """Tell whether the video lies within both bounds."""
        return (self.up_to_edge is None or edge <= self.up_to_edge) and (
            self.up_to_seconds is None or seconds <= self.up_to_seconds
        )


Rates = Sequence[Rate]
"""For one operation, sound and service tier; of each unit the smallest bounds come first."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is priced. `input_seconds` None: a clip goes in whose length is not known.

    `edge` is the short edge of the file, where that is smaller than what was asked.
    """

    seconds: Decimal
    width: int
    height: int
    audio: bool | None = None
    operation: str = "generate"
    service_tier: str = "default"
    fps: int | None = None
    input_images: int = 0
    input_seconds: Decimal | None = Decimal(0)
    edge: int | None = None

    @property
    def short_edge(self) -> int:
        """The shorter side, in pixels."""
        return min(self.width, self.height) if self.edge is None else self.edge

    @property
    def pixels(self) -> Decimal:
        """Of one frame: as asked, or the file's where its short edge is more than 10 % below."""
        asked, edge = min(self.width, self.height), self.edge
        pixels = Decimal(self.width * self.height)
        return pixels if edge is None or edge * 10 >= asked * 9 else pixels * edge * edge / (asked * asked)


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known once the file is there; None where it is not. It can only lower a price."""

    duration_ms: int | None = None
    short_edge: int | None = None
    gpu_seconds: Decimal | None = None
    reported: Decimal | None = None  # what the upstream says it charged
    currency: str = "USD"  # of `reported`


@dataclass(frozen=True, slots=True)
class Line:
    """One unit's part of a price, not rounded."""

    unit: str
    quantity: Decimal
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        """USD."""
        return self.quantity * self.unit_price


@dataclass(frozen=True, slots=True)
class Agreed:
    """A route's price as it was when the video was accepted.

    With a `margin` it follows the upstream's own cost, in `currency` at `usd_per_unit`.
    """

    rates: tuple[Rate, ...]
    margin: Decimal | None = None
    currency: str = "USD"
    usd_per_unit: Decimal = Decimal(1)

    def of_reported(self, observed: Observed) -> int | None:
        """Micro-USD that the reported cost makes; None where it decides nothing."""
        told = observed.reported
        if self.margin is None or told is None or observed.currency not in (self.currency, "USD"):
            return None
        rate = self.usd_per_unit if observed.currency == self.currency else Decimal(1)
        price = max(Decimal(0), told) * rate * self.margin
        return LARGEST if price * MICROS > LARGEST else to_micros(price)


def lines_of(rates: Rates, shape: Shape, gpu_seconds: Decimal | None = None) -> list[Line]:
    """Price a shape unit by unit. UnknownPrice where a row or a quantity is missing."""
    _check(rates, shape)
    edge, found, done = shape.short_edge, [], None
    for rate in rates:
        if rate.unit == done:
            continue
        if rate.unit in _INPUTS and not _inputs(rate.unit, shape):
            done = rate.unit
        elif rate.covers(edge, shape.seconds):
            found.append(Line(rate.unit, _quantity(rate, shape, gpu_seconds), rate.amount))
            done = rate.unit
    missing = {rate.unit for rate in rates} - {line.unit for line in found} - _absent(shape)
    if missing:
        raise UnknownPrice(
            f"no price per {min(missing)} covers {shape.seconds:f} s with a short edge of {edge} pixels"
        )
    return found


def price_micros(rates: Rates, shape: Shape, gpu_seconds: Decimal | None = None) -> int:
    """Price a shape in micro-USD, rounded once."""
    return to_micros(sum((line.amount for line in lines_of(rates, shape, gpu_seconds)), Decimal(0)))


def lowered(shape: Shape, observed: Observed) -> Shape:
    """Give what is billed: as asked, or the file's length and short edge where they fall short."""
    seconds = billable_seconds(shape.seconds, observed.duration_ms)
    edge = observed.short_edge
    smaller = edge is not None and 0 < edge < shape.short_edge
    if seconds == shape.seconds and not smaller:
        return shape
    return replace(shape, seconds=seconds, edge=edge if smaller else shape.edge)


def charge_micros(agreed: Agreed, shape: Shape, observed: Observed, hold_micros: int) -> int:
    """Charge what was agreed, or less where the file or the GPU took less; never above the hold.

    Where the rule is cost times margin and the upstream tells its cost, that decides.
    """
    billed = lowered(shape, observed)
    if billed.seconds <= 0:
        return 0
    price = price_micros(agreed.rates, billed, observed.gpu_seconds)
    reported = agreed.of_reported(observed)
    if reported is None:
        price = min(price, price_micros(agreed.rates, shape))
    else:
        price = reported if billed == shape else min(price, reported)
    return min(price, hold_micros)


def billable_seconds(billed: Decimal, measured_ms: int | None) -> Decimal:
    """The length to charge: what was quoted, lowered only if the file is shorter than that by more than
    max(0.5 s, 10 %)."""
    if measured_ms is None:
        return billed
    measured = Decimal(measured_ms) / 1000
    tolerance = max(Decimal("0.5"), billed / 10)
    return billed if measured >= billed - tolerance else measured


def _check(rates: Rates, shape: Shape) -> None:
    if not rates:
        raise UnknownPrice("this model has no price")
    if not shape.seconds.is_finite() or shape.seconds <= 0:
        raise UnknownPrice(f"a length of {shape.seconds} s cannot be priced")
    if shape.short_edge <= 0:
        raise UnknownPrice(f"a size of {shape.width}x{shape.height} cannot be priced")


def _quantity(rate: Rate, shape: Shape, gpu_seconds: Decimal | None) -> Decimal:
    match rate.unit:
        case "output_second":
            return shape.seconds
        case "clip":
            return Decimal(1)
        case "million_tokens":
            return _tokens(rate, shape) / _MILLION
        case "gpu_second":
            return _gpu_seconds(rate, gpu_seconds)
        case "input_image" | "input_second":
            return _inputs(rate.unit, shape)
        case _:
            raise UnknownPrice(f"'{rate.unit}' is not a unit that can be counted")


def _inputs(unit: str, shape: Shape) -> Decimal:
    if unit == "input_image":
        return Decimal(shape.input_images)
    if shape.input_seconds is None:
        raise UnknownPrice("the length of an input clip is not known")
    return shape.input_seconds


def _absent(shape: Shape) -> set[str]:
    absent = set() if shape.input_images else {"input_image"}
    return absent if shape.input_seconds != 0 else absent | {"input_second"}


def _tokens(rate: Rate, shape: Shape) -> Decimal:
    """Upstreams that count tokens count the frames of an input clip too."""
    fps = shape.fps or rate.fps
    if fps is None:
        raise UnknownPrice("a price per token needs the frame rate: send fps, or set default_fps")
    if shape.input_seconds is None:
        raise UnknownPrice("the length of an input clip is not known")
    frames = fps * (shape.seconds + shape.input_seconds) + rate.extra_frames
    return shape.pixels * frames / _TOKEN_PIXELS


def _gpu_seconds(rate: Rate, measured: Decimal | None) -> Decimal:
    most = rate.max_gpu_seconds
    if most is None:
        raise UnknownPrice("a price per GPU second needs max_gpu_seconds")
    return most if measured is None or measured < 0 else min(most, measured)
