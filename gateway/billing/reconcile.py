"""`onereel billing reconcile`: asks Stripe for everything of a span of days and compares it with the ledger."""

from sqlalchemy import Connection

from billing import stripe_reconcile as compare
from billing.stripe_client import Stripe
from billing.stripe_reconcile import DAY_MS, Difference, Metered, Money
from gateway.db import Database

_MARGIN_MS = 7 * DAY_MS
"""A payment may be credited days after it was begun: the lists start earlier than the comparison."""


async def reconcile(
    db: Database, stripe: Stripe, *, meter_event_name: str, since: int, now: int
) -> list[Difference]:
    """Compare from `since` to `now` (milliseconds); usage by whole UTC days, without today's."""
    listed = await _money(stripe, since, now)
    found = await db.read(lambda conn: compare.compare_money(conn, listed))
    for who in await db.read(compare.metered):
        found += await _usage(db, stripe, meter_event_name, who, since=since, now=now)
    return found + await db.read(lambda conn: compare.unfinished(conn, now))


async def _money(stripe: Stripe, since: int, now: int) -> Money:
    created = {"gte": (since - _MARGIN_MS) // 1000}
    return Money(
        since,
        now,
        intents=[each async for each in stripe.every("payment_intents", created=created)],
        sessions=[each async for each in stripe.every("checkout/sessions", created=created)],
        refunds=[each async for each in stripe.every("refunds", created=created)],
        disputes=[each async for each in stripe.every("disputes", created=created)],
        invoices=[each async for each in stripe.every("invoices", created=created)],
    )


async def _usage(
    db: Database, stripe: Stripe, event_name: str, who: Metered, *, since: int, now: int
) -> list[Difference]:
    start, end = since - since % DAY_MS, now - now % DAY_MS
    if start >= end:
        return []
    meter_id = await _meter(stripe, event_name)
    if meter_id is None:
        text = f"no active meter takes events named {event_name}"
        return [Difference("usage", who.customer_id, who.organization_id, None, None, text)]
    summaries = await stripe.usage_by_day(meter_id, who.customer_id, start // 1000, end // 1000)

    def read(conn: Connection) -> dict[int, int]:
        return compare.noted_by_day(conn, who, start, end)

    return compare.compare_usage(who, await db.read(read), summaries)


async def _meter(stripe: Stripe, event_name: str) -> str | None:
    async for each in stripe.every("billing/meters", status="active"):
        if each["event_name"] == event_name:
            return str(each["id"])
    return None
