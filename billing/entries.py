"""Entries of the ledger: appended, never changed; each once per (subject, kind, seq), its lines summing to zero.

| account      | what it is                                       | grows with  |
|--------------|--------------------------------------------------|-------------|
| customer     | paid credit of an organization                   | top-ups     |
| promotional  | credit that was given and ends                   | grants      |
| held         | set aside for videos in the making               | holds       |
| revenue      | what was charged                                 | captures    |
| equity       | credit that the operator gave or corrected       | (negative)  |
| promotion    | the other side of promotional credit             | (negative)  |
| stripe       | money that Stripe took in                        | (negative)  |
| receivable   | money that was taken back beyond the balance     | (negative)  |
| upstream_cost, payable | what providers charge the operator     | costs       |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select

from billing.bulk_insert import BulkInsert
from billing.tables import entries, lines

# Built once: making a statement costs as much as running it.
_KINDS: Final = select(entries.c.subject, entries.c.kind).where(
    entries.c.subject.in_(bindparam("subjects", expanding=True))
)
_ENTRIES: Final = BulkInsert(
    entries, ("id", "subject", "kind", "seq", "organization_id", "memo", "created_at")
)
_LINES: Final = BulkInsert(lines, ("entry_id", "account", "amount"))


class LedgerConflict(Exception):
    """The step was already taken, or there is nothing that it could work on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step and its lines (account, micro-USD)."""

    subject: str
    kind: str
    organization_id: str
    created_at: int
    amounts: tuple[tuple[str, int], ...]
    seq: int = 0
    memo: str | None = None

    @property
    def id(self) -> str:
        """Derived, so that a repeated step collides on both keys."""
        return entry_id(self.subject, self.kind, self.seq)


def entry_id(subject: str, kind: str, seq: int = 0) -> str:
    """Name the entry of a step; a subject has at most 40 characters."""
    return f"led_{kind}_{seq}_{subject}"[:64]


def kinds_of(conn: Connection, subjects: Sequence[str]) -> dict[str, set[str]]:
    """Find the kinds of entry that each subject has."""
    found: dict[str, set[str]] = {}
    if subjects:
        for row in conn.execute(_KINDS, {"subjects": subjects}):
            found.setdefault(row.subject, set()).add(row.kind)
    return found


def append(conn: Connection, new: Sequence[Entry]) -> None:
    """Write entries; an IntegrityError for a step that was already taken."""
    if not new:
        return
    ids = [e.id for e in new]
    _ENTRIES(
        conn,
        [
            {
                "id": entry,
                "subject": e.subject,
                "kind": e.kind,
                "seq": e.seq,
                "organization_id": e.organization_id,
                "memo": e.memo,
                "created_at": e.created_at,
            }
            for entry, e in zip(ids, new, strict=True)
        ],
    )
    _LINES(
        conn,
        [
            {"entry_id": entry, "account": account, "amount": amount}
            for entry, e in zip(ids, new, strict=True)
            for account, amount in e.amounts
        ],
    )
