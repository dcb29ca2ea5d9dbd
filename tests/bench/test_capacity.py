"""The arithmetic from one video to a fleet."""

import pytest

from tests.bench.capacity import Mix, of_one_video, plan
from tests.bench.costs import IDLE, Costs

MIX = Mix(reads=10, polls=12, megabytes=12, render=60, gpu_use=0.5)


def costs() -> Costs:
    """Every step takes a millisecond of each part, syncs twice, and went on for two milliseconds of an idle fleet."""
    names = (
        "create, one at a time",
        "status",
        "submit",
        "poll, nothing new",
        "poll, progress moved",
        "upkeep",
    )
    ends = {"end: completed, 4 MB": 0.010, "end: completed, 20 MB": 0.030}
    sample = {"api": 0.001, "jobs": 0.001, "seconds": 0.002, "wal_bytes": 1000.0}
    samples = {name: [sample] for name in names}
    samples |= {name: [sample | {"jobs": jobs}] for name, jobs in ends.items()}
    samples[IDLE] = [{"api": 0.1}]
    return Costs(samples, {name: {"syncs": 2.0, "statements": 3.0} for name in samples})


def test_one_video_is_the_sum_of_its_steps_above_what_idling_takes() -> None:
    one = of_one_video(costs(), MIX)
    steps = 1 + 10 + 1 + 12 + 1 + 1  # create, reads, submit, polls, end, upkeep
    assert one["api"] == pytest.approx(steps * (0.001 - 0.1 * 0.002))
    assert one["wal_bytes"] == pytest.approx(steps * 1000)
    assert one["syncs"] == pytest.approx(steps * 2)


def test_a_file_between_two_measured_sizes_costs_in_between() -> None:
    assert of_one_video(costs(), MIX)["jobs"] == pytest.approx(25 * 0.001 + 0.020)


def test_a_column_multiplies_and_leaves_room() -> None:
    one = {"api": 0.036, "jobs": 0.03, "media": 0.03, "postgres": 0.001, "redis": 0.0}
    one |= {"wal_bytes": 1e6, "kept_bytes": 1e6, "statements": 1.0, "syncs": 1.0}
    column = plan(one, MIX, 600)
    assert column[:4] == ["10", "0.4, 1", "0.6, 1", "0.010, 1"]
    assert column[-3:] == ["120.0", "120", "1,200"]
