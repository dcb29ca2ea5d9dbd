"""Usage of postpaid organizations on its way to Stripe: written with the capture, sent later under the entry's id.

Stripe keeps an identifier unique for 24 hours and cancels what it got within the last 24 hours. What misses a window
is never sent: it becomes `dead`, and `billing reconcile` shows it. Usage counts at the time of its capture; where
sending was delayed, at the time of its first try: the invoice of the earlier period may be closed by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select, update

from billing.stripe_customers import ENDED
from billing.stripe_tables import customers, meter_events
from billing.tables import balances

HOUR_MS: Final = 3_600_000
UNIQUE_MS: Final = 23 * HOUR_MS  # of 24 hours, with an hour for clocks and delays
LATE_MS: Final = 10 * 60_000
OPENING: Final = "opening_"
"""Begins the id of usage that is no single capture's: what was owed when a subscription began."""

_METERED: Final = (
    select(customers.c.organization_id, customers.c.customer_id, customers.c.metered_since)
    .join(balances, balances.c.organization_id == customers.c.organization_id)
    .where(
        customers.c.organization_id.in_(bindparam("organizations", expanding=True)),
        customers.c.subscription_id.is_not(None),
        customers.c.subscription_status.not_in(ENDED),
        balances.c.mode == "postpaid",
    )
)
_INSERT: Final = insert(meter_events)

Task = Literal["send", "adjust"]


def counts() -> ColumnElement[bool]:
    """Usage that was noted and not taken back."""
    taken_back = (meter_events.c.state == "cancelled") | (func.coalesce(meter_events.c.adjust, "") == "sent")
    return ~taken_back


class Usage(NamedTuple):
    """What a capture charged: the id of its ledger entry, who pays, micro-USD, when (milliseconds)."""

    entry_id: str
    organization_id: str
    amount_micros: int
    occurred_at: int


def enqueue_usage(conn: Connection, entries: Sequence[Usage], now: int) -> int:
    """Note captured usage for Stripe, in the transaction that captures; answers how many rows it wrote.

    Only organizations in mode postpaid with a subscription that runs are metered: what others are charged stays owed
    until one begins (billing.stripe_opening). Noting an entry twice is a key violation.
    """
    charged = [each for each in entries if each.amount_micros > 0]
    if not charged:
        return 0
    organizations = sorted({each.organization_id for each in charged})
    known = {row.organization_id: row for row in conn.execute(_METERED, {"organizations": organizations})}
    rows = [
        {
            "id": each.entry_id,
            "organization_id": each.organization_id,
            "customer_id": known[each.organization_id].customer_id,
            "value": each.amount_micros,
            "occurred_at": max(each.occurred_at, known[each.organization_id].metered_since),
            "state": "pending",
            "due": now,
        }
        for each in charged
        if each.organization_id in known
    ]
    if rows:
        conn.execute(_INSERT, rows)
    return len(rows)


def cancel_usage(conn: Connection, entry_id: str, now: int) -> str:
    """Take back usage whose entry an operator reversed; answers what becomes of it.

    `none`: never metered. `cancelled`: not sent yet. `adjusting`: Stripe will be told. `too_late`: Stripe has it
    for more than 24 hours, so the invoice needs a credit note.
    """
    row = conn.execute(select(meter_events).where(meter_events.c.id == entry_id).with_for_update()).first()
    if row is None or row.state in ("dead", "cancelled"):
        return "none"
    if row.adjust is not None:
        return "too_late" if row.adjust == "dead" else "adjusting"
    if row.state == "pending" and row.attempted_at is None and row.lease_until <= now:
        _set(conn, entry_id, state="cancelled", due=None)
        return "cancelled"
    if row.sent_at is not None and now - row.sent_at > UNIQUE_MS:
        _set(conn, entry_id, adjust="dead", last_error="reversed more than 24 hours after it was sent")
        return "too_late"
    _set(conn, entry_id, adjust="pending", due=now)
    return "adjusting"


@dataclass(frozen=True, slots=True)
class Claimed:
    """One row to be sent or cancelled at Stripe, under the `fence` of who does it. `first_try_at`: since when Stripe may
    have it, this try included.
    """

    id: str
    task: Task
    customer_id: str
    organization_id: str
    value: int
    occurred_at: int
    tries: int
    answers: int
    attempted_at: int | None
    first_try_at: int
    sent_at: int | None
    fence: int

    @property
    def counts_at(self) -> int:
        """When it counts at Stripe (milliseconds), the same at every try."""
        late = self.first_try_at - self.occurred_at > LATE_MS
        return self.first_try_at if late else self.occurred_at

    @property
    def key(self) -> str:
        """The idempotency key: the same until Stripe has answered no to it, for it would repeat that answer."""
        return f"{self.task}-{self.id}.{self.answers}"

    def missed(self, now: int) -> str | None:
        """Say which of Stripe's windows is over, so that this must not be sent any more."""
        if self.task == "adjust":
            late = self.sent_at is not None and now - self.sent_at > UNIQUE_MS
            return "reversed more than 24 hours after it was sent" if late else None
        if self.attempted_at is not None and now - self.attempted_at > UNIQUE_MS:
            return (
                "sent more than 24 hours ago without an answer: Stripe may have it, so it is not sent again"
            )
        return None


def claim(conn: Connection, owner: str, now: int, lease_ms: int, count: int) -> list[Claimed]:
    """Lease rows that are due, oldest first. Marks that Stripe may have them from now on."""
    query = select(meter_events.c.id).where(meter_events.c.due <= now, meter_events.c.lease_until <= now)
    query = query.order_by(meter_events.c.due).limit(count).with_for_update(skip_locked=True)
    chosen = list(conn.scalars(query))
    if not chosen:
        return []
    rows = conn.execute(
        update(meter_events)
        .where(meter_events.c.id.in_(chosen))
        .values(owner=owner, fence=meter_events.c.fence + 1, lease_until=now + lease_ms)
        .returning(*meter_events.c)
    ).all()
    found = [_claimed(row, now) for row in rows]
    first = [each.id for each in found if each.task == "send" and each.attempted_at is None]
    if first:
        conn.execute(update(meter_events).where(meter_events.c.id.in_(first)).values(attempted_at=now))
    return found


def _claimed(row: Any, now: int) -> Claimed:
    return Claimed(
        row.id,
        "send" if row.state == "pending" else "adjust",
        row.customer_id,
        row.organization_id,
        row.value,
        row.occurred_at,
        row.tries,
        row.answers,
        row.attempted_at,
        now if row.attempted_at is None else row.attempted_at,
        row.sent_at,
        row.fence,
    )


def done(conn: Connection, item: Claimed, now: int) -> bool:
    """Stripe has it. False where another process took over."""
    if item.task == "adjust":
        return _record(conn, item, adjust="sent", adjusted_at=now, due=None, last_error=None)
    row = conn.execute(select(meter_events.c.adjust).where(meter_events.c.id == item.id)).one()
    due = now if row.adjust == "pending" else None
    return _record(
        conn,
        item,
        state="sent",
        occurred_at=item.counts_at,
        sent_at=now,
        due=due,
        tries=0,
        answers=0,
        last_error=None,
    )


def later(conn: Connection, item: Claimed, error: str, due: int, *, unsent: bool, answered: bool) -> bool:
    """Try again at `due`. `unsent`: Stripe surely does not have it from this try."""
    values: dict[str, Any] = {"due": due, "tries": meter_events.c.tries + 1, "last_error": error[:500]}
    if answered:
        values["answers"] = meter_events.c.answers + 1
    if unsent and item.task == "send" and item.attempted_at is None:
        values["attempted_at"] = None
    return _record(conn, item, **values)


def give_up(conn: Connection, item: Claimed, error: str) -> bool:
    """Never send it: a window is over."""
    column = "adjust" if item.task == "adjust" else "state"
    return _record(conn, item, **{column: "dead"}, due=None, last_error=error[:500])


def _record(conn: Connection, item: Claimed, **values: Any) -> bool:
    result = conn.execute(
        update(meter_events)
        .where(meter_events.c.id == item.id, meter_events.c.fence == item.fence)
        .values(**values, owner=None, lease_until=0)
    )
    return result.rowcount == 1


def _set(conn: Connection, entry_id: str, **values: Any) -> None:
    conn.execute(update(meter_events).where(meter_events.c.id == entry_id).values(**values))
