"""Waiting and rendering times of one organization, by group and by time: from the rollups alone."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, and_, case, func, or_, select

from billing.rollups import DAYS, HOURS
from billing.timing_tables import timing_rollups
from billing.timings import RENDERED, WAITED, quantile
from billing.usage_tables import usage_rollups

c: Final = timing_rollups.c
COLUMNS: Final = {"project_id": c.project_id, "api_key_id": c.key_id, "model": c.model}
"""What can be grouped and filtered by."""

_MOST_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True)
class Span:
    """Whole buckets of UTC from `start` up to `end` (milliseconds), "1h" or "1d" wide, and one value per filter."""

    width: str
    start: int
    end: int
    filters: Mapping[str, str] = field(default_factory=dict)


Bins = dict[int, int]
Group = str | None


class Timings:
    """Counts of waiting and rendering times by group; the group None is all of them."""

    def __init__(self) -> None:
        self._bins: dict[tuple[Group, str], Bins] = defaultdict(lambda: defaultdict(int))

    def add(self, group: Group, measure: str, number: int, videos: int) -> None:
        """Count videos of one bin, in their group and in all."""
        self._bins[group, measure][number] += videos
        if group is not None:
            self._bins[None, measure][number] += videos

    def waited(self, group: Group = None, share: float = 0.5) -> float | None:
        """Seconds from the request until an upstream took it, that the share of the videos did not exceed."""
        return quantile(self._bins.get((group, WAITED), {}), share)

    def rendered(self, group: Group = None, share: float = 0.5) -> float | None:
        """Seconds from then to the file."""
        return quantile(self._bins.get((group, RENDERED), {}), share)


def read_timings(conn: Connection, organization_id: str, span: Span, dimension: str | None) -> Timings:
    """Read what the videos that ended in a span took, by group."""
    group = COLUMNS.get(dimension or "")
    by = [c.measure, c.bin, *([] if group is None else [group])]
    statement = select(*by, func.sum(c.videos).label("videos")).where(
        c.organization_id == organization_id,
        c.grain == (HOURS if span.width == "1h" else DAYS),
        c.bucket >= span.start,
        c.bucket < span.end,
    )
    for name, value in span.filters.items():
        if name in COLUMNS:
            statement = statement.where(COLUMNS[name] == value)
    found = Timings()
    for row in conn.execute(statement.group_by(*by)):
        found.add(None if group is None else row[2], row.measure, row.bin, int(row.videos))
    return found


def verify_timings(conn: Connection) -> list[str]:
    """Every group of times that contradicts the rollups, as one sentence: what waited was rendered, and completed.

    Times began later than rollups, so there may be fewer of them.
    """
    names = ("organization_id", "grain", "bucket", "project_id", "key_id", "model")
    keys = [c[name] for name in names]
    waited = func.sum(case((c.measure == WAITED, c.videos), else_=0)).label("waited")
    rendered = func.sum(case((c.measure == RENDERED, c.videos), else_=0)).label("rendered")
    counted = select(*keys, waited, rendered).group_by(*keys).subquery()
    same = [usage_rollups.c[name] == counted.c[name] for name in names]
    completed = func.coalesce(usage_rollups.c.completed, 0)
    wrong = (
        select(
            *[counted.c[name] for name in names],
            counted.c.waited,
            counted.c.rendered,
            completed.label("completed"),
        )
        .outerjoin(usage_rollups, and_(*same, usage_rollups.c.user_ref == ""))
        .where(or_(counted.c.waited != counted.c.rendered, counted.c.waited > completed))
        .limit(_MOST_PROBLEMS)
    )
    return [
        f"times of {row.organization_id} at {row.bucket} ({row.grain}: {row.project_id}, {row.key_id}, {row.model}): "
        f"{row.waited} waited, {row.rendered} rendered, {row.completed} completed"
        for row in conn.execute(wrong)
    ]
