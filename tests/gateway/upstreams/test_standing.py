"""One word for an upstream, and whether a model of our own workers has yet to be loaded."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.upstreams.health import Away
from gateway.upstreams.standing import Standing, joined, standing
from gateway.upstreams.workers import Heard
from providers.spec import UpstreamSpec


@dataclass
class World:
    """What Health and Workers tell, said by a test."""

    gone: set[str] = field(default_factory=set)
    breakers: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    addresses: tuple[str, ...] = ()

    def away(self, name: str) -> Away | None:
        return Away(1.0, 1.0) if name in self.gone else None

    def breaker_of(self, name: str) -> str:
        return self.breakers.get(name, "closed")

    def heard(self, upstream: UpstreamSpec) -> Heard:
        return Heard(None, reachable=upstream.name not in self.silent)

    def servers(self, upstream: UpstreamSpec) -> list[UpstreamSpec]:
        return [upstream.at(each) for each in self.addresses] if upstream.is_fleet else [upstream]


ONE = UpstreamSpec(name="one", base_url="http://127.0.0.1:9/v1")
FLEET = UpstreamSpec(name="gpu", type="local", base_url="http://workers.example:9100/v1")


def said(upstream: UpstreamSpec, world: World) -> Standing:
    told: Any = world
    return standing(upstream, told, told)


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (World(), "available"),
        (World(gone={"one"}), "away"),
        (World(breakers={"one": "half_open"}), "degraded"),
        (World(silent={"one"}), "away"),
    ],
)
def test_a_single_upstream(world: World, expected: Standing) -> None:
    assert said(ONE, world) == expected


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (World(addresses=()), "away"),
        (World(addresses=("10.0.0.1", "10.0.0.2")), "available"),
        (World(addresses=("10.0.0.1", "10.0.0.2"), silent={"gpu@10.0.0.2"}), "degraded"),
        (World(addresses=("10.0.0.1", "10.0.0.2"), gone={"gpu@10.0.0.1", "gpu@10.0.0.2"}), "away"),
        (World(addresses=("10.0.0.1",), gone={"gpu"}), "away"),
    ],
)
def test_a_fleet_is_as_good_as_its_servers(world: World, expected: Standing) -> None:
    assert said(FLEET, world) == expected


def test_several_that_stand_in_for_each_other() -> None:
    assert joined([]) == "away"
    assert joined(["available", "away"]) == "degraded"
    assert joined(["degraded"]) == "degraded"
