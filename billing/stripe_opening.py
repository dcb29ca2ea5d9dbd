"""When a subscription begins: what is owed already and on no invoice becomes its first usage.

Stripe bills what happens while a subscription runs. What was captured before, between two, or after the end of one is
not sent as it happens; it stays owed, and is sent as one event when the next subscription begins.
"""

from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from billing.balance import locked_balance
from billing.meters import OPENING, counts
from billing.stripe_customers import lock, set_subscription
from billing.stripe_tables import meter_events
from billing.tables import balances, credit_lots, entries, hold_lots, lines

_CLOCKS_MS: Final = 1000  # Stripe's times are whole seconds, rounded down


def begin(
    conn: Connection, organization_id: str, subscription: dict[str, Any], invoiced: int, now: int
) -> int | None:
    """Keep a subscription that began; answers the micro-USD of before that it bills, None for one that is known.

    `invoiced` is what invoices carry so far, whether paid or not. Nothing that is sent from now on lies before the
    subscription, by Stripe's own clock: it would be on no invoice.
    """
    row = lock(conn, organization_id)
    account = locked_balance(conn, organization_id)
    if row is None or row.subscription_id == subscription["id"]:
        return None
    since = max(now, int(subscription.get("created") or 0) * 1000 + _CLOCKS_MS)
    set_subscription(conn, organization_id, subscription["id"], subscription["status"], since)
    _withdraw(conn, organization_id)
    carried = max(0, invoiced - credited_by_invoices(conn, organization_id))
    opening = max(0, owed(conn, organization_id) - carried) if account.mode == "postpaid" else 0
    if opening:
        conn.execute(
            insert(meter_events).values(
                id=f"{OPENING}{subscription['id']}",
                organization_id=organization_id,
                customer_id=row.customer_id,
                value=opening,
                occurred_at=since,
                state="pending",
                due=now,
            )
        )
    return opening


def _withdraw(conn: Connection, organization_id: str) -> None:
    """What was not sent yet is among what is owed; one that is on its way is dated before the subscription."""
    conn.execute(
        update(meter_events)
        .where(meter_events.c.organization_id == organization_id, meter_events.c.state == "pending")
        .values(
            state="cancelled",
            due=None,
            owner=None,
            lease_until=0,
            fence=meter_events.c.fence + 1,
            last_error="billed with the next subscription",
        )
    )


def owed(conn: Connection, organization_id: str) -> int:
    """Micro-USD that the organization owes for what was captured: what is only held does not count."""
    row = conn.execute(select(balances).where(balances.c.organization_id == organization_id)).one()
    promotional = conn.scalar(
        select(func.sum(hold_lots.c.amount))
        .join(credit_lots, credit_lots.c.id == hold_lots.c.lot_id)
        .where(credit_lots.c.organization_id == organization_id)
    )
    held = int(row.held) - int(promotional or 0)
    return max(0, -(int(row.available) + held))


def noted_unpaid(conn: Connection, organization_id: str) -> int:
    """Micro-USD of usage that was noted for Stripe and that no paid invoice brought yet."""
    noted = conn.scalar(
        select(func.sum(meter_events.c.value)).where(
            meter_events.c.organization_id == organization_id, counts()
        )
    )
    return max(0, int(noted or 0) - credited_by_invoices(conn, organization_id))


def credited_by_invoices(conn: Connection, organization_id: str) -> int:
    """Micro-USD that paid invoices brought, by the ledger."""
    brought = conn.scalar(
        select(func.sum(lines.c.amount))
        .join(entries, entries.c.id == lines.c.entry_id)
        .where(
            entries.c.organization_id == organization_id,
            entries.c.kind == "top_up",
            entries.c.subject.startswith("in_", autoescape=True),
            lines.c.account == "stripe",
        )
    )
    return -int(brought or 0)
