"""The overview of an organization: totals, groups, series, the period before, and nobody else's numbers."""

import math
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from billing.rollups import DAY_MS, Usage, record_usage
from billing.timings import Timing, bin_of, quantile, record_timings
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.principal import Principal, Scope
from gateway.usage.overview import OverviewService

NOW = int(time.time() * 1000)
OURS = Principal("org", "proj", "key", frozenset({Scope.USAGE_READ}))
ONE = Usage("org", "proj", "key", "fast", "ada", NOW, completed=True, billed_ms=4000, revenue=400_000, quoted=400_000, upstream_cost=0)  # fmt: skip


def fill(conn: Connection) -> None:
    """Three of ours that end now, one failed, one a week ago; and one of somebody else."""
    record_usage(
        conn,
        [
            ONE,
            replace(ONE, model="slow", key_id="other", revenue=900_000),
            replace(ONE, completed=False, billed_ms=0, revenue=0),
            replace(ONE, ended_at=NOW - 8 * DAY_MS, revenue=100_000),
            replace(ONE, organization_id="theirs", revenue=7_000_000),
        ],
    )
    times = [Timing("org", "proj", "key", "fast", NOW, waited, rendered) for waited, rendered in ((200, 8000), (400, 9000))]  # fmt: skip
    record_timings(conn, [*times, Timing("theirs", "proj", "key", "fast", NOW, 10**7, 10**7)])


async def test_a_period_is_added_up_by_group_and_over_time(db: Database) -> None:
    await db.write(fill)
    service = OverviewService(db, Clock())
    found = await service.overview(OURS, service.span("7d", "model", {}), "model")
    assert (found.total.revenue, found.total.videos, found.total.failed) == (1_300_000, 3, 1)
    assert found.total.success == pytest.approx(2 / 3)
    assert [(each.name, each.revenue) for each in found.groups] == [("slow", 900_000), ("fast", 400_000)]
    assert (len(found.buckets), found.spend["slow"][-1], sum(found.videos["fast"])) == (7, 900_000, 2)
    assert found.total.rendered == pytest.approx(8.5, rel=0.2)
    assert (found.groups[0].rendered, found.before.revenue) == (None, 100_000)
    by_key = await service.overview(OURS, service.span("24h", "key", {"model": "slow"}), "key")
    assert [(each.name, each.revenue) for each in by_key.groups] == [("other", 900_000)]
    by_user = await service.overview(OURS, service.span("30d", "user", {"model": "slow"}), "user")
    assert [(each.name, each.videos, each.waited) for each in by_user.groups] == [("ada", 4, None)]
    assert (await service.live(OURS)).running == 0


async def test_what_cannot_be_shown_is_refused(db: Database) -> None:
    service = OverviewService(db, Clock())
    for wrong in (
        lambda: service.span("8d", "model", {}),
        lambda: service.between(NOW + 2 * DAY_MS, NOW + 3 * DAY_MS, {}),
        lambda: service.between(NOW, NOW - DAY_MS, {}),
        lambda: service.between(NOW - 1000 * DAY_MS, NOW, {}),
    ):
        with pytest.raises(BadRequest):
            wrong()
    with pytest.raises(BadRequest):
        await service.overview(OURS, service.span("7d", "model", {}), "prompt")


@given(st.lists(st.integers(100, 10**8), min_size=1), st.sampled_from([50, 95]))
def test_a_quantile_is_within_half_a_bin_of_the_true_one(times: list[int], percent: int) -> None:
    found = quantile(Counter(map(bin_of, times)), percent / 100)
    true = sorted(times)[math.ceil(Fraction(percent, 100) * len(times)) - 1] / 1000
    assert found is not None
    assert abs(math.log2(found / true)) <= 1 / 8 + 1e-6
