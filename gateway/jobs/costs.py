"""What an upstream takes for an attempt, beside what the customer pays: as it reports, else as its prices say."""

from decimal import Decimal
from typing import Any, Final

from billing.money import MICROS
from billing.prices import Observed
from gateway.jobs.charges import REJECTIONS
from gateway.videos.price_book import Cost
from gateway.videos.routing import Route
from gateway.videos.stored import StoredRequest
from providers.contract import Completed, ProviderError, ReportedCost

COSTS: Final = ("cost_micros", "cost_source", "cost_amount", "cost_currency", "cost_rate")
"""The columns of an attempt that tell its cost."""


def cost_of(route: Route, video: Any, status: Completed) -> Cost | None:
    """The cost of a finished attempt, None where neither the upstream nor the catalogue tells."""
    if status.cost is not None and (cost := reported(route, status.cost)) is not None:
        return cost
    return estimated(route, video, status.gpu_seconds)


def reported(route: Route, cost: ReportedCost) -> Cost | None:
    """What the upstream says it charged, in its currency; None for what is no amount of money."""
    if cost.amount is not None:
        return route.book.booked(cost.amount, "reported", cost.currency)
    if cost.micros is None:
        return None
    return route.book.booked(Decimal(cost.micros) / MICROS, "reported", "USD")


def estimated(route: Route, video: Any, gpu_seconds: Decimal | None = None) -> Cost | None:
    """What the catalogue says that the upstream takes for the request."""
    request = StoredRequest.model_validate(video.request)
    shape = route.shape(request.shape(video.operation))
    return route.book.estimate(shape, Observed(gpu_seconds=gpu_seconds))


def expected_micros(route: Route, request: StoredRequest, operation: str) -> int | None:
    """What the catalogue says beforehand, in micro-USD; None where it does not tell."""
    cost = route.book.estimate(route.shape(request.shape(operation)), Observed())
    return None if cost is None else cost.micros


def columns_of(attempt: Any, cost: Cost | None) -> dict[str, Any]:
    """The columns of an attempt once it is done; what was reported before stays where nothing better is known."""
    if cost is None or (cost.source == "estimated" and attempt.cost_source == "reported"):
        return {name: getattr(attempt, name) for name in COSTS}
    return columns(cost)


def columns(cost: Cost) -> dict[str, Any]:
    """The columns of an attempt that has this cost."""
    return {
        "cost_micros": cost.micros,
        "cost_source": cost.source,
        "cost_amount": f"{cost.amount:f}",
        "cost_currency": cost.currency,
        "cost_rate": None if cost.rate is None else f"{cost.rate:f}",
    }


def gpu_ms(seconds: Decimal | None) -> int | None:
    """Milliseconds, None for what is no time."""
    if seconds is None or not seconds.is_finite() or not 0 <= seconds < 10**9:
        return None
    return int(seconds * 1000)


def of_rejection(route: Route, video: Any, error: ProviderError) -> Cost | None:
    """What the upstream takes although its moderation refused the video."""
    if error.kind not in REJECTIONS or route.spec.charges_on_rejection != "yes":
        return None
    return estimated(route, video)
