"""What upstreams take for videos: the operator's side of the books, in the transaction that learns of it.

| entry | lines (sum zero)              |
|-------|-------------------------------|
| cost  | upstream_cost +c, payable -c  |
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from billing.entries import Entry, append
from billing.tables import entries

KIND = "cost"


@dataclass(frozen=True, slots=True)
class Cost:
    """Micro-USD that an upstream took for a subject (a video); `seq` above 0 where it was learned of later."""

    subject: str
    organization_id: str
    amount_micros: int
    at: int
    seq: int = 0


def book_costs(conn: Connection, costs: Sequence[Cost]) -> None:
    """Book them; an IntegrityError for a cost that was booked before."""
    append(
        conn,
        [
            Entry(
                cost.subject,
                KIND,
                cost.organization_id,
                cost.at,
                (("upstream_cost", cost.amount_micros), ("payable", -cost.amount_micros)),
                seq=cost.seq,
            )
            for cost in costs
        ],
    )


def later_costs(conn: Connection, subject: str) -> int:
    """Find the next `seq` of a subject, from 1: 0 is what was known when the video ended."""
    known = select(func.coalesce(func.max(entries.c.seq), 0)).where(
        entries.c.subject == subject, entries.c.kind == KIND
    )
    return int(conn.execute(known).scalar_one()) + 1
