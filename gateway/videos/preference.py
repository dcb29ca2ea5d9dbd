"""In which order the routes of one model are tried: the operator's priorities, then what is preferred, then weights."""

import math
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Final, Literal

from gateway.videos.routing import Route

Preference = Literal["order", "cost", "latency"]

_BY_TIER: Final[dict[str, Preference]] = {"flex": "cost", "priority": "latency"}
_ALL: Final = 2**64

Cost = Callable[[Route], int | None]
Latency = Callable[[str, str], float | None]


def preference_of(service_tier: str, configured: Preference) -> Preference:
    """`flex` looks for the cheapest route, `priority` for the fastest, everything else follows the installation."""
    return _BY_TIER.get(service_tier, configured)


def arranged(
    routes: Sequence[Route], prefer: Preference, *, cost: Cost, latency: Latency, seed: str
) -> list[Route]:
    """Sort the routes of one model, which come in order of priority. The same `seed` (a video's id) gives the same order.

    A route whose cost is not known comes after those whose is; one whose speed is not known is tried, to measure it.
    """
    if len(routes) < 2:
        return list(routes)
    found: list[Route] = []
    for _, equals in groupby(routes, key=lambda route: route.priority):
        found += _sorted(list(equals), prefer, cost, latency, seed)
    return found


def _sorted(equals: list[Route], prefer: Preference, cost: Cost, latency: Latency, seed: str) -> list[Route]:
    if len(equals) == 1:
        return equals
    shared = any(route.weight is not None for route in equals)

    def key(route: Route) -> tuple[float, float]:
        first = 0.0
        if prefer == "cost":
            micros = cost(route)
            first = math.inf if micros is None else micros
        elif prefer == "latency":
            first = latency(route.upstream.name, route.spec.upstream_id) or 0.0
        return first, _drawn(route, seed) if shared else 0.0

    return sorted(equals, key=key)


def _drawn(route: Route, seed: str) -> float:
    """Draw a number that is the smallest of all with a probability in proportion to the weight (1 where none is set)."""
    weight = 1 if route.weight is None else route.weight
    if weight == 0:
        return math.inf
    text = f"{seed}/{route.upstream.name}/{route.spec.upstream_id}"
    drawn = int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) + 1
    return -math.log(drawn / (_ALL + 1)) / weight
