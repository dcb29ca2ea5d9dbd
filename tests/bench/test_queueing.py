"""The simulation against what queueing theory knows exactly."""

import math
import random
from collections.abc import Iterator

import pytest

from tests.bench.queueing import Station, poisson, simulate
from tests.bench.service import Service

COUNT = 40_000


class AtOnce(Station):
    """Known to be done the moment it is."""

    def known_after(self, service: float) -> float:
        return service


def exponential(seed: int) -> Iterator[float]:
    source = random.Random(seed)
    while True:
        yield source.expovariate(1.0)


def erlang_wait(places: int, utilization: float) -> float:
    """The mean wait of Poisson arrivals for exponential services of 1 s (Erlang C)."""
    offered = places * utilization
    full = offered**places / math.factorial(places) / (1 - utilization)
    waits = full / (sum(offered**n / math.factorial(n) for n in range(places)) + full)
    return waits / (places * (1 - utilization))


@pytest.mark.parametrize(("places", "utilization"), [(1, 0.6), (1, 0.8), (4, 0.8), (16, 0.8)])
def test_exponential_services_wait_as_erlang_says(places: int, utilization: float) -> None:
    arrivals = poisson(places * utilization, COUNT, seed=1)
    waits = simulate([AtOnce(places, Service(1.0))], arrivals, [exponential(2)])
    mean = sum(wait.delay for wait in waits) / COUNT
    assert mean == pytest.approx(erlang_wait(places, utilization), rel=0.15)


def test_equal_services_wait_half_as_long() -> None:
    arrivals = poisson(0.8, COUNT, seed=1)
    waits = simulate([AtOnce(1, Service(1.0, 0.0))], arrivals, [Service(1.0, 0.0).times(1)])
    mean = sum(wait.delay for wait in waits) / COUNT
    assert mean == pytest.approx(erlang_wait(1, 0.8) / 2, rel=0.15)  # Pollaczek and Khinchine


def test_the_service_times_have_the_mean_and_the_variation_they_are_asked_for() -> None:
    service = Service(8.0, 0.5)
    times = service.times(1)
    drawn = [next(times) for _ in range(COUNT)]
    mean = sum(drawn) / COUNT
    assert mean == pytest.approx(8.0, rel=0.02)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in drawn) / COUNT)
    assert deviation / mean == pytest.approx(service.variation, rel=0.05)


def test_a_place_is_held_until_the_next_poll_and_what_the_gateway_adds() -> None:
    station = Station(1, Service(1.0, 0.0), poll_after=3.0, pickup=0.25, answer=0.1, settle=0.5)
    first, second = simulate([station], [0.0, 0.0], [Service(1.0, 0.0).times(1)])
    assert first.delay == 0.25
    # the answer to the create, 3 to 3.3 s until the poll, its answer, and the settling
    assert 3.7 <= first.held <= 4.0
    assert second.delay == pytest.approx(0.25 + first.held + 0.25)


def test_a_second_station_takes_what_the_first_has_no_room_for() -> None:
    stations = [AtOnce(1, Service(1.0)), AtOnce(1, Service(1.0))]
    services = [Service(10.0, 0.0).times(1), Service(2.0, 0.0).times(1)]
    waits = simulate(stations, [0.0, 1.0, 2.0], services)
    assert [round(wait.delay, 6) for wait in waits] == [0.0, 0.0, 1.0]
    assert [round(wait.held, 6) for wait in waits] == [10.0, 2.0, 2.0]
