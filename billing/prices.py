"""What a video costs. This piece knows one unit: the output second."""

from decimal import Decimal

from billing.money import to_micros


class UnknownPrice(ValueError):
    """The route has no price, or the quantity is not known: never zero by default."""


def price_micros(price_per_second_usd: Decimal | None, seconds: Decimal) -> int:
    """Micro-USD for `seconds` of output. UnknownPrice without a price or a positive finite length."""
    if price_per_second_usd is None:
        raise UnknownPrice("this model has no price")
    if not seconds.is_finite() or seconds <= 0:
        raise UnknownPrice(f"a length of {seconds} s cannot be priced")
    return to_micros(price_per_second_usd * seconds)


def billable_seconds(billed: Decimal, measured_ms: int | None) -> Decimal:
    """The length to charge: what was quoted, lowered only if the file is shorter than that by more than
    max(0.5 s, 10 %)."""
    if measured_ms is None:
        return billed
    measured = Decimal(measured_ms) / 1000
    tolerance = max(Decimal("0.5"), billed / 10)
    return billed if measured >= billed - tolerance else measured
