"""How often an upstream is asked: the budget is kept under many jobs, and everyone gets a turn."""

import itertools
from collections import Counter
from heapq import heappop, heappush
from typing import Any

import pytest

from gateway.jobs.pace import Paces
from providers.spec import UpstreamSpec


class Time:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def account(**limits: Any) -> UpstreamSpec:
    return UpstreamSpec.model_validate({"name": "acme", "base_url": "https://acme.example", **limits})


def rounds(
    time: Time, paces: Paces, upstream: UpstreamSpec, jobs: list[str], *, interval: float, seconds: float
) -> dict[str, list[float]]:
    """Poll as the runner does: every job comes when it is due and is told when to come again."""
    asked: dict[str, list[float]] = {job: [] for job in jobs}
    due = [(time.now, job) for job in jobs]
    end = time.now + seconds
    while due[0][0] < end:
        at, job = heappop(due)
        time.now = max(time.now, at)
        wait = paces.poll(upstream, job)
        if not wait:
            asked[job].append(time.now)
            wait = paces.next_poll(upstream, job, interval)
            assert wait >= interval - 1e-6
        heappush(due, (time.now + wait, job))
    return asked


def test_waiting_creates_come_back_one_by_one(time: Time) -> None:
    paces, upstream = Paces(time), account(requests_per_second=10, polls_per_second=1)
    first = [paces.submit(upstream, f"first {n}") for n in range(11)]
    assert first.count(0.0) >= 10  # a second's worth was saved up
    waits = [paces.submit(upstream, f"job {n}") for n in range(50)]
    assert all(later - sooner == pytest.approx(0.1) for sooner, later in itertools.pairwise(waits))
    time.now += waits[0] + 1e-6
    assert paces.submit(upstream, "job 0") == 0.0
    assert paces.submit(account(), "job 1") == 0.0  # no rate, no waiting


def test_the_poll_budget_is_kept_and_every_job_gets_its_turn(time: Time) -> None:
    paces, upstream = Paces(time), account(polls_per_second=10)
    asked = rounds(time, paces, upstream, [f"job {n}" for n in range(200)], interval=2.0, seconds=120)
    per_second = Counter(int(at) for each in asked.values() for at in each)
    assert max(per_second.values()) <= 11
    assert sum(per_second.values()) >= 120 * 10 * 0.95
    gaps = [later - sooner for each in asked.values() for sooner, later in itertools.pairwise(each)]
    assert max(gaps) <= 1.3 * 200 / 10  # live videos / budget
    assert min(gaps) >= 2.0 - 1e-6


def test_jobs_that_are_all_due_at_once_are_put_back_once(time: Time) -> None:
    paces, upstream = Paces(time), account(polls_per_second=10)
    waits = {f"job {n}": paces.poll(upstream, f"job {n}") for n in range(100)}
    assert list(waits.values()).count(0.0) == 1
    started = time.now
    for job, wait in sorted(waits.items(), key=lambda item: item[1])[1:]:
        assert started + wait >= time.now + 0.05
        time.now = started + wait
        assert paces.poll(upstream, job) == 0.0


def test_a_job_that_is_called_back_does_not_lose_its_moment(time: Time) -> None:
    paces, upstream = Paces(time), account(polls_per_second=1)
    booked = paces.next_poll(upstream, "job", 5.0)
    for n in range(30):
        paces.next_poll(upstream, f"other {n}", 0.0)
    assert paces.poll(upstream, "job") <= booked


def test_polls_and_creates_that_share_a_rate_leave_each_other_room(time: Time) -> None:
    paces, upstream = Paces(time), account(requests_per_second=10)
    time.now += 0.05
    polls = [paces.next_poll(upstream, f"live {n}", 0.0) for n in range(400)]  # 50 seconds of polls
    creates = sorted(paces.submit(upstream, f"queued {n}") for n in range(110))
    assert sum(wait <= 50 for wait in creates) >= 95  # a second's burst and a fifth of the rate
    assert sum(wait <= 50 for wait in polls) >= 395  # the creates came later and took none of them
    more = [paces.submit(upstream, f"more {n}") for n in range(500)]
    assert max(more) > 50
    late = [paces.next_poll(upstream, f"late {n}", 60.0) for n in range(50)]
    assert max(late) <= 75


def test_polls_with_a_budget_of_their_own_do_not_hold_up_creates(time: Time) -> None:
    paces, upstream = Paces(time), account(polls_per_second=10, requests_per_second=2)
    for n in range(500):
        paces.next_poll(upstream, f"live {n}", 0.0)
    assert [paces.submit(upstream, f"queued {n}") for n in range(2)] == [0.0, 0.0]
    assert paces.poll(upstream, "live 0") <= 0.2


def test_moments_that_have_passed_are_forgotten(time: Time) -> None:
    paces, upstream = Paces(time), account(polls_per_second=100)
    for n in range(10_000):
        paces.next_poll(upstream, f"gone {n}", 1.0)
    time.now += 500
    paces.next_poll(upstream, "job", 1.0)
    (moments,) = paces._moments.values()
    assert len(moments._booked) == 1
    assert len(moments._after) <= 1


def test_what_a_standstill_held_up_goes_out_a_little_faster_than_the_rate(time: Time) -> None:
    paces, upstream = Paces(time), account(polls_per_second=100)
    waits = {f"job {n}": paces.next_poll(upstream, f"job {n}", 1.0) for n in range(200)}
    time.now += 5.0  # every one of them is late
    again = {job: paces.poll(upstream, job) for job in waits}
    assert list(again.values()).count(0.0) <= 12
    assert 1.5 <= max(again.values()) <= 200 / 100
    started = time.now
    for job, wait in sorted(again.items(), key=lambda item: item[1]):
        time.now = started + wait
        assert wait == 0.0 or paces.poll(upstream, job) == 0.0
