"""The order in which routes are tried."""

from collections import Counter
from typing import Any

from gateway.videos.preference import arranged, preference_of
from gateway.videos.routing import Route
from providers.spec import UpstreamSpec
from tests.gateway.videos.test_routing import catalogue, spec


def routes(*upstreams: dict[str, Any]) -> tuple[Route, ...]:
    specs = [
        UpstreamSpec.model_validate({"base_url": "http://127.0.0.1:9", "models": [spec("m")], **each})
        for each in upstreams
    ]
    return catalogue(*specs).resolve("m").routes


def order(found: tuple[Route, ...], prefer: str = "order", seed: str = "video_1", **known: Any) -> list[str]:
    costs, seconds = known.get("costs", {}), known.get("seconds", {})
    arranged_routes = arranged(
        found,
        prefer,  # type: ignore[arg-type]
        cost=lambda route: costs.get(route.upstream.name),
        latency=lambda upstream, _model: seconds.get(upstream),
        seed=seed,
    )
    return [route.upstream.name for route in arranged_routes]


def test_without_priorities_and_weights_the_order_is_that_of_the_configuration():
    assert order(routes({"name": "b"}, {"name": "a"}, {"name": "c"})) == ["b", "a", "c"]


def test_a_lower_priority_comes_first_and_a_model_overrides_its_upstream():
    found = routes(
        {"name": "late", "priority": 20},
        {"name": "first", "priority": 20, "models": [spec("m", priority=1)]},
        {"name": "plain", "priority": 5},
    )
    assert order(found, "cost", costs={"late": 1, "first": 9, "plain": 5}) == ["first", "plain", "late"]


def test_cost_and_latency_sort_within_a_priority():
    found = routes({"name": "a"}, {"name": "b"}, {"name": "c"})
    assert order(found, "cost", costs={"a": 30, "b": 10}) == ["b", "a", "c"]  # unknown comes last
    assert order(found, "latency", seconds={"a": 30.0, "b": 10.0}) == ["c", "b", "a"]  # unknown is measured


def test_weights_share_videos_out_and_one_video_always_gets_the_same_order():
    found = routes({"name": "a", "weight": 3}, {"name": "b", "weight": 1}, {"name": "spare", "weight": 0})
    orders = [order(found, seed=f"video_{n}") for n in range(4000)]
    assert orders == [order(found, seed=f"video_{n}") for n in range(4000)]
    first = Counter(each[0] for each in orders)
    assert 0.72 < first["a"] / 4000 < 0.78
    assert {each[2] for each in orders} == {"spare"}


def test_the_service_tier_chooses_what_is_preferred():
    assert [preference_of(tier, "order") for tier in ("flex", "default", "priority")] == [
        "cost",
        "order",
        "latency",
    ]
    assert preference_of("default", "latency") == "latency"
