"""Charged, quoted, estimated, reported: per day and per video."""

from typing import Any

import msgspec
import pytest

from gateway.clock import Clock
from gateway.errors import BadRequest
from gateway.usage.query import Asked
from gateway.usage.reconciliation import Reconciliation
from tests.gateway.usage.conftest import DAY, ELSEWHERE, Cinema, Film

FILMS = [
    Film(estimate=320_000, reported=320_000),
    Film(estimate=320_000, reported=350_000),
    Film(estimate=320_000, organization_id=ELSEWHERE),
    Film(reported=100_000),
    Film(completed=False, estimate=320_000),
    Film(completed=False, estimate=320_000, reported=70_000),
]


@pytest.fixture
async def report(cinema: Cinema, clock: Clock) -> Reconciliation:
    for film in FILMS:
        await cinema.make(film)
    return Reconciliation(cinema.db, clock)


def today(clock: Clock, **more: Any) -> Asked:
    return Asked(clock.now_ms() // 1000 - DAY, **more)


MONEY = ("charged", "quoted", "estimated", "reported", "difference")


def money(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in MONEY)


async def test_per_day(report: Reconciliation, clock: Clock) -> None:
    page = msgspec.json.decode(await report.days(today(clock)))
    [day] = [result for bucket in page["data"] for result in bucket["results"]]
    assert (day["num_videos"], day["num_failed"], day["num_reported"]) == (4, 2, 4)
    assert money(day) == ("1.600000", "2.400000", "0.960000", "0.840000", "0.100000")
    one = msgspec.json.decode(await report.days(today(clock, lists={"organization_ids": [ELSEWHERE]})))
    assert one["data"][-1]["results"][0]["num_videos"] == 1


async def test_per_video(report: Reconciliation, clock: Clock) -> None:
    page = msgspec.json.decode(await report.videos(today(clock)))
    assert [(row["status"], *money(row)) for row in page["data"]] == [
        ("completed", "0.400000", "0.400000", "0.320000", "0.320000", "0.000000"),
        ("completed", "0.400000", "0.400000", "0.320000", "0.350000", "0.030000"),
        ("completed", "0.400000", "0.400000", "0.320000", None, None),
        ("completed", "0.400000", "0.400000", None, "0.100000", None),
        ("failed", "0.000000", "0.400000", "0.000000", None, None),
        ("failed", "0.000000", "0.400000", "0.000000", "0.070000", "0.070000"),
    ]
    assert {row["upstream"] for row in page["data"]} == {"acme"}


async def test_only_what_differs(report: Reconciliation, clock: Clock) -> None:
    page = msgspec.json.decode(await report.videos(today(clock), different=True))
    assert [row["reported"] for row in page["data"]] == ["0.350000", "0.100000", "0.070000"]


async def test_pages_of_videos(report: Reconciliation, clock: Clock) -> None:
    whole = msgspec.json.decode(await report.videos(today(clock)))["data"]
    found: list[Any] = []
    page: str | None = None
    for _ in range(3):
        body = msgspec.json.decode(await report.videos(today(clock, limit=2, page=page)))
        found += body["data"]
        page = body["next_page"]
    assert (found, page) == (whole, None)
    for wrong in ("page_x_video", "page_", "1_video"):
        with pytest.raises(BadRequest):
            await report.videos(today(clock, page=wrong))
