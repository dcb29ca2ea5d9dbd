"""An agreed price as it is kept with the video: compact JSON, so that a later price book changes nothing."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from billing.prices import Agreed, Rate, Rates, Shape


def pack(agreed: Agreed, shape: Shape) -> dict[str, Any]:
    """Write down what may still be needed: the rates that apply, and those of the lower bands."""
    packed: dict[str, Any] = {"rates": [_row(rate) for rate in _reachable(agreed.rates, shape)]}
    if agreed.margin is not None:
        packed["margin"] = f"{agreed.margin:f}"
        if agreed.currency != "USD":
            packed["currency"] = [agreed.currency, f"{agreed.usd_per_unit:f}"]
    return packed


def unpack(packed: Mapping[str, Any]) -> Agreed:
    """Read what `pack` wrote."""
    margin = packed.get("margin")
    currency, usd = packed.get("currency", ("USD", "1"))
    rates = tuple(_rate(row) for row in packed["rates"])
    return Agreed(rates, None if margin is None else Decimal(margin), currency, Decimal(usd))


def _reachable(rates: Rates, shape: Shape) -> list[Rate]:
    """Rates come with the smallest bounds first, and what comes out is never larger than what was asked."""
    kept: list[Rate] = []
    done: set[str] = set()
    for rate in rates:
        if rate.unit in done:
            continue
        kept.append(rate)
        if rate.covers(shape.short_edge, shape.seconds):
            done.add(rate.unit)
    return kept


def _row(rate: Rate) -> list[Any]:
    row: list[Any] = [
        rate.unit,
        f"{rate.amount:f}",
        rate.up_to_edge,
        _text(rate.up_to_seconds),
        rate.fps,
        rate.extra_frames or None,
        _text(rate.max_gpu_seconds),
    ]
    while row[-1] is None:
        row.pop()
    return row


def _rate(row: Sequence[Any]) -> Rate:
    filled: list[Any] = [*row, *([None] * (7 - len(row)))]
    unit, amount, edge, seconds, fps, extra, most = filled
    return Rate(unit, Decimal(amount), edge, _number(seconds), fps, extra or 0, _number(most))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
