"""Waiting and rendering times of completed videos, counted per hour and day by the transaction that ends a video.

A bin is a range of times: bin n holds those from 2**(n/4) up to 2**((n+1)/4) tenths of a second, so a median is known
to within a tenth of itself. Bin -1 holds everything shorter than a tenth of a second.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.rollups import DAYS, GRAINS, HOURS
from billing.timing_tables import timing_rollups

WAITED: Final = "w"
RENDERED: Final = "r"
KEYS: Final = tuple(column.name for column in timing_rollups.primary_key.columns)
_STEPS: Final = 4  # bins from a time to its double
_UNIT_MS: Final = 100
_LAST: Final = 120  # 2**30 tenths of a second: years


@dataclass(frozen=True, slots=True)
class Timing:
    """One completed video: milliseconds until its upstream took it, and from then to its file."""

    organization_id: str
    project_id: str
    key_id: str
    model: str
    ended_at: int
    waited_ms: int
    rendered_ms: int


def bin_of(milliseconds: int) -> int:
    """Find the bin of a time."""
    if milliseconds < _UNIT_MS:
        return -1
    return min(_LAST, math.floor(_STEPS * math.log2(milliseconds / _UNIT_MS) + 1e-9))


def seconds_of(number: int) -> float:
    """The middle of a bin, in seconds."""
    if number < 0:
        return _UNIT_MS / 2000
    return _UNIT_MS / 1000 * 2 ** ((number + 0.5) / _STEPS)


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """Seconds that the `share` of the counted videos did not exceed, to within a bin; None where none was counted."""
    total = sum(bins.values())
    left = share * total
    for number in sorted(bins):
        left -= bins[number]
        if left <= 0 and bins[number]:
            return seconds_of(number)
    return seconds_of(max(bins)) if total else None


def _upsert(make: Any) -> Any:
    insert = make(timing_rollups)
    added = {"videos": timing_rollups.c.videos + insert.excluded.videos}
    return insert.on_conflict_do_update(index_elements=list(KEYS), set_=added)


_UPSERTS: Final = {"sqlite": _upsert(sqlite_insert), "postgresql": _upsert(postgres_insert)}


def record_timings(conn: Connection, items: Sequence[Timing]) -> None:
    """Count videos that end in this transaction: one statement, rows in the order of their keys.

    Call it after `record_usage`: whoever settles holds the organization's balance, so nobody waits here.
    """
    counts: Counter[tuple[Any, ...]] = Counter()
    for item in items:
        for grain in (HOURS, DAYS):
            bucket = item.ended_at - item.ended_at % GRAINS[grain]
            place = (item.organization_id, grain, bucket, item.project_id, item.key_id, item.model)
            counts[(*place, WAITED, bin_of(item.waited_ms))] += 1
            counts[(*place, RENDERED, bin_of(item.rendered_ms))] += 1
    rows = [dict(zip(KEYS, key, strict=True)) | {"videos": counts[key]} for key in sorted(counts)]
    if rows:
        conn.execute(_UPSERTS[conn.dialect.name], rows)
