"""What an organization was charged per bucket: videos by their rollups, everything else by the ledger."""

from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy import Connection

from gateway.usage.query import UsageQuery
from gateway.usage.read import Row, in_order, other_charges, usage_rows

VIDEO_SECONDS: Final = "video seconds, "
FEES: Final = "cancellation and rejection fees, "


def cost_rows(conn: Connection, organization_id: str, query: UsageQuery, start: int, end: int) -> list[Row]:
    """Groups that were charged or that got something for nothing, in order."""
    allowed = (query.filters or {}).get("line_item")
    by_item = "line_item" in query.group_by or allowed is not None
    if not by_item:
        rows = usage_rows(conn, organization_id, query, start, end)
        found: Iterable[Row] = (row for row in rows if row.revenue or row.completed)
    else:
        names = [name for name in query.group_by if name != "line_item"]
        finer = query.grouped(*dict.fromkeys([*names, "model"]))
        found = _items(usage_rows(conn, organization_id, finer, start, end))
    others: list[Row] = []
    if not set(query.filters or ()) - {"line_item"}:  # they belong to no project, key, model or user
        others = other_charges(conn, organization_id, start, end, query.length)
    chosen = [row for row in (*found, *others) if allowed is None or row.group.get("line_item") in allowed]
    return _added_up(query, chosen)


def _items(rows: Iterable[Row]) -> Iterator[Row]:
    """One row per line item: what was made, and what was charged for videos that failed."""
    for row in rows:
        model = row.group["model"]
        if row.completed or row.revenue != row.fees:
            yield Row(
                row.bucket,
                {**row.group, "line_item": f"{VIDEO_SECONDS}{model}"},
                completed=row.completed,
                billed_ms=row.billed_ms,
                revenue=row.revenue - row.fees,
            )
        if row.fees:
            yield Row(row.bucket, {**row.group, "line_item": f"{FEES}{model}"}, revenue=row.fees)


def _added_up(query: UsageQuery, rows: Iterable[Row]) -> list[Row]:
    sums: dict[tuple[int, tuple[str | None, ...]], tuple[int, int, int]] = {}
    for row in rows:
        key = (row.bucket, tuple(row.group.get(name) for name in query.group_by))
        completed, billed_ms, revenue = sums.get(key, (0, 0, 0))
        sums[key] = completed + row.completed, billed_ms + row.billed_ms, revenue + row.revenue
    found = [
        Row(bucket, dict(zip(query.group_by, names, strict=True)), completed, 0, billed_ms, revenue)
        for (bucket, names), (completed, billed_ms, revenue) in sums.items()
    ]
    return sorted(found, key=in_order)
