"""The answer to POST /v1/videos/quote: what a create with the same body would cost, route by route."""

from decimal import Decimal
from typing import Any

from billing.money import format_usd
from billing.prices import Line
from gateway.videos.capabilities import text_of
from gateway.videos.create import Plan
from gateway.videos.price_book import Cost, amount_text
from gateway.videos.quoting import Quoted


def quote(plan: Plan, *, costs: bool) -> dict[str, Any]:
    """Build the answer. `costs`: tell what the upstreams take, too (for the operator)."""
    n, first = plan.body.n, plan.routes[0]
    total = format_usd(plan.price.video_micros * n)
    warnings = list(plan.warnings)
    warnings += [
        f"The price on '{each.route.upstream.name}' is not known: {each.unknown}. It costs nothing while billing is off."
        for each in plan.price.routes
        if each.price is None
    ]
    return {
        "object": "video.quote",
        "model": plan.models[0],
        "seconds": text_of(plan.total_seconds),
        "size": plan.size,
        "n": n,
        "cost": {"currency": "usd", "amount": total},
        "hold": {"currency": "usd", "amount": total},
        "route": {"upstream": first.upstream.name, "model": first.spec.upstream_id},
        "routes": [_route(each, costs=costs) for each in plan.price.routes],
        "warnings": warnings,
    }


def _route(quoted: Quoted, *, costs: bool) -> dict[str, Any]:
    price, route = quoted.price, quoted.route
    shown: dict[str, Any] = {
        "upstream": route.upstream.name,
        "model": route.spec.upstream_id,
        "price": None
        if price is None
        else {
            "currency": "usd",
            "amount": format_usd(price.micros),
            "rule": price.kind,
            "lines": [_line(line) for line in price.lines],
        },
    }
    if costs:
        shown["upstream_cost"] = _cost(route.book.estimate(quoted.shape))
    return shown


def _line(line: Line) -> dict[str, str]:
    """`amount` is rounded for display; the sum is rounded once, from the exact ones."""
    return {
        "unit": line.unit,
        "quantity": plain(line.quantity),
        "unit_price": plain(line.unit_price),
        "amount": amount_text(line.amount),
    }


def _cost(cost: Cost | None) -> dict[str, str | None] | None:
    if cost is None:
        return None
    return {
        "usd": None if cost.micros is None else format_usd(cost.micros),
        "currency": cost.currency.lower(),
        "amount": plain(cost.amount),
        "usd_per_unit": None if cost.rate is None else plain(cost.rate),
    }


def plain(value: Decimal) -> str:
    """Write a decimal without exponent and trailing zeros."""
    return f"{value.normalize():f}"
