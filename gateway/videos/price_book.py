"""The price book of one route: rows of the configuration, compiled once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal

from billing.agreed import pack
from billing.exchange import ExchangeRate, usd_per_unit
from billing.money import LARGEST, to_decimal, to_micros
from billing.prices import Agreed, Line, Observed, Rate, Shape, UnknownPrice, lines_of, price_micros
from providers.contract import Operation
from providers.price_rows import PriceRow, cells
from providers.spec import ModelSpec, UpstreamSpec

Kind = Literal["explicit", "margin"]

_ONE: Final = Decimal(1)
_FINEST: Final = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class RoutePrice:
    """One video on one route. `packed` is what is kept of it; the price of an `explicit` row or of cost x `margin`."""

    kind: Kind
    micros: int
    lines: tuple[Line, ...]
    packed: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """What an upstream takes for a video: in its own currency, and in micro-USD where a rate is known."""

    micros: int | None
    amount: Decimal
    currency: str
    rate: Decimal | None
    source: Literal["reported", "estimated"]


@dataclass(eq=False, slots=True)
class RouteBook:
    """Prices of one route. Compiled rates are kept: there are few operations, tiers and margins.

    `usd_per` converts each currency that costs may be in; None where no rate is known.
    """

    prices: tuple[PriceRow, ...]
    costs: tuple[PriceRow, ...]
    usd_per: Mapping[str, Decimal | None]
    rejection_charged: bool
    _rates: dict[tuple[str, bool | None, str, Decimal | None], tuple[Rate, ...]] = field(default_factory=dict)

    @property
    def currency(self) -> str:
        """Of the upstream's costs."""
        return self.costs[0].currency if self.costs else "USD"

    @property
    def rate(self) -> Decimal | None:
        """USD per unit of that currency."""
        return self.usd_per[self.currency]

    def price(self, shape: Shape, margin: Decimal | None) -> RoutePrice:
        """Price one video for a customer. UnknownPrice."""
        explicit = bool(self.prices)
        if not explicit and (margin is None or not self.costs):
            raise UnknownPrice("this model has no price")
        rates = self._rates_for(shape, _ONE if explicit else margin)
        micros = price_micros(rates, shape)
        packed = pack(self._agreed(rates, None if explicit else margin), shape)
        if self.rejection_charged:
            packed["rejection"] = True
        lines = tuple(lines_of(rates, shape))
        return RoutePrice("explicit" if explicit else "margin", micros, lines, packed)

    def customer_rows(self, margin: Decimal | None) -> list[tuple[PriceRow, Decimal]]:
        """List the rows with what a customer pays for one unit; empty where that is not known."""
        if self.prices:
            return [(row, row.amount) for row in self.prices]
        if margin is None or self.rate is None:
            return []
        return [(row, (row.amount * self.rate * margin).normalize()) for row in self.costs]

    def estimate(self, shape: Shape, observed: Observed | None = None) -> Cost | None:
        """Estimate what the upstream takes; None where that is not known."""
        try:
            rates = self._rates_for(shape, None)
            lines = lines_of(rates, shape, None if observed is None else observed.gpu_seconds)
        except UnknownPrice:
            return None
        amount = sum((line.amount for line in lines), Decimal(0))
        return self.booked(amount, "estimated")

    def booked(
        self, amount: Decimal, source: Literal["reported", "estimated"], currency: str | None = None
    ) -> Cost | None:
        """Convert an amount, which is in the currency of the costs unless told; None for what is no amount of money."""
        if not amount.is_finite() or not 0 <= amount <= LARGEST:
            return None
        currency = self.currency if currency is None else currency
        rate = self.usd_per.get(currency)
        kept = amount.quantize(_FINEST) if amount != round(amount, 12) else amount
        try:
            micros = None if rate is None else to_micros(kept * rate)
        except ValueError:
            return None
        return Cost(micros, kept, currency, rate, source)

    def _agreed(self, rates: tuple[Rate, ...], margin: Decimal | None) -> Agreed:
        return (
            Agreed(rates, margin, self.currency, self.rate or _ONE) if margin is not None else Agreed(rates)
        )

    def _rates_for(self, shape: Shape, factor: Decimal | None) -> tuple[Rate, ...]:
        """Compile the rows: `factor` multiplies USD prices or costs; None asks for costs in their own currency."""
        key = (shape.operation, shape.audio, shape.service_tier, factor)
        found = self._rates.get(key)
        if found is None:
            found = self._rates[key] = self._compile(*key)
        return found

    def _compile(
        self,
        operation: str,
        audio: bool | None,
        tier: str,
        factor: Decimal | None,
    ) -> tuple[Rate, ...]:
        explicit = factor is not None and bool(self.prices)
        per_unit = _ONE if explicit or factor is None else self.rate
        if per_unit is None:
            missing = "credit_usd is not set" if self.currency == "credit" else f"no rate for {self.currency}"
            raise UnknownPrice(f"its cost cannot be converted: {missing}")
        found = cells(self.prices if explicit else self.costs, Operation(operation), audio, tier)
        times = per_unit * (_ONE if factor is None else factor)
        return tuple(_rate(row, edge, seconds, times) for edge, seconds, row in found)


def _rate(row: PriceRow, edge: int | None, seconds: Decimal | None, times: Decimal) -> Rate:
    return Rate(
        row.unit,
        (row.amount * times).normalize(),
        edge,
        seconds,
        row.default_fps,
        row.extra_frames,
        row.max_gpu_seconds,
    )


def compile_book(
    upstream: UpstreamSpec, spec: ModelSpec, rates: Sequence[ExchangeRate], today: date
) -> RouteBook:
    """Make the book of a route, with the exchange rate of the day."""
    usd_per = {"credit": upstream.credit_usd} | {c: usd_per_unit(rates, c, today) for c in ("USD", "CNY")}
    charged = spec.charges_on_rejection == "yes" and upstream.pass_on_rejection_charges
    return RouteBook(spec.price_rows, spec.cost_rows, usd_per, charged)


def amount_text(amount: Decimal) -> str:
    """Write USD as the API does, with six places: rounded once."""
    return f"{to_decimal(to_micros(amount)):f}"
