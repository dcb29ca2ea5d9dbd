"""How an upstream stands, in one word that everybody may read."""

from collections.abc import Collection
from typing import Literal

from gateway.upstreams.health import Health
from gateway.upstreams.workers import Workers
from providers.spec import UpstreamSpec

Standing = Literal["available", "degraded", "away"]
"""It takes videos; some of its servers do, or it is being tried again; it takes none."""


def standing(upstream: UpstreamSpec, health: Health, workers: Workers) -> Standing:
    """Say it as this process last heard."""
    if health.away(upstream.name) is not None:
        return "away"
    found = joined([_of_server(each, health, workers) for each in workers.servers(upstream)])
    return "degraded" if found == "available" and health.breaker_of(upstream.name) != "closed" else found


def joined(standings: Collection[Standing]) -> Standing:
    """Say it of several that stand in for each other."""
    if set(standings) <= {"away"}:
        return "away"
    return "available" if set(standings) == {"available"} else "degraded"


def _of_server(server: UpstreamSpec, health: Health, workers: Workers) -> Standing:
    if health.away(server.name) is not None or not workers.heard(server).reachable:
        return "away"
    return "available" if health.breaker_of(server.name) == "closed" else "degraded"
