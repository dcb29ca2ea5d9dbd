"""Promotional credit: lots that end, used before paid credit, the one that ends first before the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, bindparam, delete, insert, select, update

from billing.balance import locked_balance, move
from billing.entries import Entry, append
from billing.tables import credit_lots, hold_lots

_OPEN: Final = (
    select(credit_lots.c.id, credit_lots.c.remaining, credit_lots.c.expires_at)
    .where(credit_lots.c.organization_id == bindparam("organization"), credit_lots.c.remaining > 0)
    .order_by(credit_lots.c.expires_at, credit_lots.c.id)
)
_TAKEN: Final = (
    select(hold_lots.c.subject, hold_lots.c.lot_id, hold_lots.c.amount)
    .join(credit_lots, credit_lots.c.id == hold_lots.c.lot_id)
    .where(hold_lots.c.subject.in_(bindparam("subjects", expanding=True)))
    .order_by(credit_lots.c.expires_at, credit_lots.c.id)
)
_CHANGE: Final = (
    update(credit_lots)
    .where(credit_lots.c.id == bindparam("lot"))
    .values(remaining=credit_lots.c.remaining + bindparam("delta", type_=BigInteger))
)
_FORGET: Final = delete(hold_lots).where(hold_lots.c.subject.in_(bindparam("subjects", expanding=True)))

Taken = tuple[str, int]
"""A lot and micro-USD of it."""


@dataclass(slots=True)
class OpenLots:
    """What is left of an organization's lots while a batch of holds is decided; nothing is written before `write`."""

    rows: Sequence[Any] = ()
    left: dict[str, int] = field(default_factory=dict)
    taken: dict[str, list[Taken]] = field(default_factory=dict)

    def room(self, now: int) -> int:
        """Micro-USD that a hold made now could take."""
        return sum(self.left[row.id] for row in self.rows if row.expires_at > now)

    def take(self, subject: str, amount: int, now: int) -> int:
        """Take up to `amount` for one hold; answers what was found."""
        found: list[Taken] = []
        wanted = amount
        for row in self.rows:
            part = min(wanted, self.left[row.id]) if row.expires_at > now else 0
            if part:
                self.left[row.id] -= part
                wanted -= part
                found.append((row.id, part))
        if found:
            self.taken[subject] = found
        return amount - wanted

    def write(self, conn: Connection) -> None:
        """Write down what was taken."""
        parts = [(subject, lot, amount) for subject, found in self.taken.items() for lot, amount in found]
        if parts:
            rows = [{"subject": subject, "lot_id": lot, "amount": amount} for subject, lot, amount in parts]
            conn.execute(insert(hold_lots), rows)
            change(conn, ((lot, -amount) for _, lot, amount in parts))


def open_lots(conn: Connection, organization_id: str) -> OpenLots:
    """Read the lots with something left. The caller has locked the organization's balance."""
    rows = conn.execute(_OPEN, {"organization": organization_id}).all()
    return OpenLots(rows, {row.id: row.remaining for row in rows})


def change(conn: Connection, deltas: Iterable[Taken]) -> None:
    """Add to the remainders, each lot once, in one order."""
    sums: dict[str, int] = {}
    for lot, delta in deltas:
        sums[lot] = sums.get(lot, 0) + delta
    rows = [{"lot": lot, "delta": delta} for lot, delta in sorted(sums.items()) if delta]
    if rows:
        conn.execute(_CHANGE, rows)


def settle(conn: Connection, charged: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """End what holds took, by subject and what it was charged: the charge uses the lots up first.

    Answers for every subject that had lots: micro-USD taken from them, and given back to them.
    """
    rows = conn.execute(_TAKEN, {"subjects": list(charged)}).all() if charged else []
    if not rows:
        return {}
    left = dict(charged)
    found: dict[str, tuple[int, int]] = {}
    returned: list[Taken] = []
    for row in rows:
        used = min(left[row.subject], row.amount)
        left[row.subject] -= used
        returned.append((row.lot_id, row.amount - used))
        taken, back = found.get(row.subject, (0, 0))
        found[row.subject] = (taken + row.amount, back + row.amount - used)
    change(conn, returned)
    conn.execute(_FORGET, {"subjects": list(found)})
    return found


def grant_credit(
    conn: Connection,
    *,
    subject: str,
    organization_id: str,
    amount_micros: int,
    expires_at: int,
    memo: str,
    now: int,
) -> None:
    """Give credit that ends at `expires_at` (milliseconds), once per subject."""
    locked_balance(conn, organization_id)
    amounts = (("promotional", amount_micros), ("promotion", -amount_micros))
    append(conn, [Entry(subject, "grant", organization_id, now, amounts, memo=memo)])
    conn.execute(
        insert(credit_lots).values(
            id=subject,
            organization_id=organization_id,
            granted=amount_micros,
            remaining=amount_micros,
            expires_at=expires_at,
            memo=memo,
            created_at=now,
        )
    )
    move(conn, organization_id, promotional=amount_micros)


def expire_credits(conn: Connection, now: int, most: int = 200) -> int:
    """Take back what is left of lots whose time is over; how many. A later release into one expires again."""
    over = (
        select(credit_lots)
        .where(credit_lots.c.expires_at <= now, credit_lots.c.remaining > 0)
        .order_by(credit_lots.c.organization_id, credit_lots.c.id)
        .limit(most)
    )
    expired = 0
    for found in conn.execute(over).all():
        locked_balance(conn, found.organization_id)
        lot = conn.execute(select(credit_lots).where(credit_lots.c.id == found.id)).one()
        if not lot.remaining:  # used up or expired while we waited for the lock
            continue
        amounts = (("promotional", -lot.remaining), ("promotion", lot.remaining))
        entry = Entry(lot.id, "expire", lot.organization_id, now, amounts, seq=lot.expiries)
        append(conn, [entry])
        conn.execute(
            update(credit_lots)
            .where(credit_lots.c.id == lot.id)
            .values(remaining=0, expiries=credit_lots.c.expiries + 1)
        )
        move(conn, lot.organization_id, promotional=-lot.remaining)
        expired += 1
    return expired
