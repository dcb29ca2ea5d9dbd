"""The short form in the default suite: the same processes, kills and checker as `make chaos`, fewer of each."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.driver import Outcome, run
from tests.chaos.run import planted_plan, postgres_plan, run_until_settled, sqlite_plan

SHORT: dict[str, Any] = {"videos": 90, "kills": 5, "needed": {"submit": 1, "store": 1, "settle": 1}}


def assert_sound(outcome: Outcome) -> None:
    assert outcome.findings.problems == []
    assert outcome.void == []


@pytest.mark.timeout(900)
def test_crashes_on_sqlite_lose_and_double_nothing(tmp_path: Path) -> None:
    assert_sound(run_until_settled(lambda: sqlite_plan(tmp_path / "run", **SHORT), planted=False))


@pytest.mark.timeout(900)
def test_crashes_on_postgresql_lose_and_double_nothing(tmp_path: Path, postgres_server: str) -> None:
    plan = partial(postgres_plan, postgres_server, tmp_path / "run", processes=2, stops=1, **SHORT)
    assert_sound(run_until_settled(plan, planted=False))


@pytest.mark.timeout(900)
def test_the_checker_sees_a_slot_that_was_not_freed(tmp_path: Path) -> None:
    """All five planted faults are run by `make chaos-short`."""
    plan = planted_plan(sqlite_plan(tmp_path / "run"), "slot_not_freed")
    plan.videos, plan.patience = 60, 15.0
    assert any("slot" in problem for problem in run(plan).findings.problems)
