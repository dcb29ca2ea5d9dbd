"""What a video costs its customer at its end, by what was agreed when it was accepted."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from billing.money import MICROS
from billing.prices import Observed, charge_micros, lowered, price_micros
from gateway.videos.stored import StoredRequest
from providers.contract import ErrorKind

REJECTIONS: Final = frozenset({ErrorKind.MODERATION_BLOCKED})
"""Verdicts that some upstreams bill although they deliver nothing."""

_UNDER_WAY: Final = "running"


@dataclass(frozen=True, slots=True)
class Charge:
    """What a file costs in micro-USD, its billed length, and what of that was made: the rest is a stitched source."""

    micros: int
    seconds: Decimal
    made: Decimal


def charge_of(video: Any, attempt: Any, duration_ms: int | None, short_edge: int) -> Charge:
    """As agreed for the route that made it, or less where the file falls short. Never above the hold.

    A stitched file is measured whole; what the source brought is not billed, what is missing counts against the
    added part.
    """
    request = StoredRequest.model_validate(video.request)
    before = Decimal(video.seconds) - request.seconds
    if duration_ms is not None:
        duration_ms -= int(before * 1000)
    shape = request.shape(video.operation)
    observed = observed_of(attempt, duration_ms, short_edge)
    found = lowered(shape, observed).seconds
    made = max(Decimal(0), found)  # a file shorter than its source made nothing
    agreed = request.agreed(attempt.upstream, attempt.upstream_model)
    if agreed is None:
        return Charge(0, before + found, made)
    micros = charge_micros(agreed, shape, observed, int(video.hold_micros))
    return Charge(micros, before + found, made)


def observed_of(attempt: Any, duration_ms: int | None, short_edge: int) -> Observed:
    """What the file and the upstream told."""
    gpu_seconds = None if attempt.gpu_ms is None else Decimal(attempt.gpu_ms) / 1000
    if attempt.cost_source != "reported":
        return Observed(duration_ms, short_edge, gpu_seconds)
    if attempt.cost_amount is None:  # written by an earlier release
        return Observed(duration_ms, short_edge, gpu_seconds, Decimal(attempt.cost_micros) / MICROS)
    reported = Decimal(attempt.cost_amount)
    return Observed(duration_ms, short_edge, gpu_seconds, reported, attempt.cost_currency)


def fee_of(video: Any, attempt: Any, code: str, kind: ErrorKind | None) -> int:
    """What a failed video costs: nothing, with two exceptions, both agreed when it was accepted.

    The plan's fee where the client cancelled what an upstream had already taken, and the price where the upstream
    charges for what its moderation refuses and the operator passes that on. Never above the hold.
    """
    if attempt is None:
        return 0
    request, hold = StoredRequest.model_validate(video.request), int(video.hold_micros)
    if code == "cancelled" and video.cancel_requested and attempt.state == _UNDER_WAY:
        return min(request.cancel_fee_micros, hold)
    if kind in REJECTIONS and request.rejection_charged(attempt.upstream, attempt.upstream_model):
        agreed = request.agreed(attempt.upstream, attempt.upstream_model)
        shape = request.shape(video.operation)
        return 0 if agreed is None else min(price_micros(agreed.rates, shape), hold)
    return 0
