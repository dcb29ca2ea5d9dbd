"""The shortest form, in the default suite: the same process, kills and checker as `make chaos-short`, fewer of each.

PostgreSQL, a kill at every statement that moves money, and the faults that the checker must see: `make chaos-short`.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.driver import Outcome
from tests.chaos.run import run_until_settled, sqlite_plan

SHORT: dict[str, Any] = {"videos": 90, "kills": 5, "needed": {"submit": 1, "store": 1, "settle": 1}}


def assert_sound(outcome: Outcome) -> None:
    assert outcome.findings.problems == []
    assert outcome.void == []


@pytest.mark.timeout(900)
def test_crashes_on_sqlite_lose_and_double_nothing(tmp_path: Path) -> None:
    assert_sound(run_until_settled(lambda: sqlite_plan(tmp_path / "run", **SHORT), planted=False))
