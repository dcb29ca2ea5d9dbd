"""What an upstream is expected to charge, by its price row."""

from decimal import Decimal

from billing.prices import price_micros
from providers.spec import ModelSpec


def estimated_cost(spec: ModelSpec, seconds: Decimal) -> int | None:
    """Micro-USD for one attempt, None where nobody knows the upstream's price."""
    rate = spec.upstream_cost_per_second_usd
    return None if rate is None else price_micros(rate, seconds)
