"""Stripe's webhooks cut off by kill -9 and sent again: paid once, reversed once. Other stories: `make chaos-short`."""

from pathlib import Path

import pytest

from tests.chaos.inbox import STORIES, crash


@pytest.mark.timeout(240)
def test_every_statement_of_the_inbox_on_sqlite(tmp_path: Path) -> None:
    """Credit and reversal in one transaction: the refund was heard of first."""
    url = f"sqlite:///{tmp_path / 'data' / 'onereel.db'}"
    ruins = crash(STORIES["refunded before it was paid"], url, tmp_path)
    print(f"{len(ruins.hit)} kills in {ruins.seconds:.1f} s", *ruins.hit, sep="\n")
    assert ruins.problems == []
    assert len(ruins.hit) > 25
