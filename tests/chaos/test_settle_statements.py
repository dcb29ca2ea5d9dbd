"""kill -9 before, between and after all statements that settle a video: money moved once, whatever was cut off.

PostgreSQL, videos that end in other ways, and Stripe's inbox: `make chaos-short`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.testing import FakeUpstream
from tests.chaos.statements import SCENARIOS, crash, fake_upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with fake_upstream() as fake:
        yield fake


@pytest.mark.timeout(240)
def test_every_statement_of_settle_on_sqlite(upstream: FakeUpstream, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'data' / 'onereel.db'}"
    ruins = crash(SCENARIOS["completed"], url, tmp_path, upstream)
    print(f"{len(ruins.hit)} kills in {ruins.seconds:.1f} s", *ruins.hit, sep="\n")
    assert ruins.problems == []
    assert len(ruins.hit) > 25
