"""Ledger and Stripe side by side: every difference, whoever is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, func, select

from billing.meters import OPENING, counts
from billing.stripe_customers import ENDED
from billing.stripe_events import payment_of
from billing.stripe_opening import noted_unpaid, owed
from billing.stripe_payments import CENT_MICROS, due_reversal
from billing.stripe_subscriptions import paid_micros, subscription_of
from billing.stripe_tables import customers, events, meter_events
from billing.tables import balances, entries, lines

DAY_MS: Final = 24 * 3_600_000
_LATE_MS: Final = 3_600_000  # usage that waits longer is told
_ROUNDED: Final = 100 * CENT_MICROS  # invoices are of whole cents: what adds up in many of them

Json = dict[str, Any]
Days = dict[int, int]
"""Micro-USD by the start of the UTC day in milliseconds."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which the two do not agree. Amounts in micro-USD, None where a side knows nothing of it."""

    kind: str
    object_id: str
    organization_id: str | None
    stripe_micros: int | None
    ledger_micros: int | None
    detail: str


@dataclass
class Money:
    """What Stripe lists of payments: those made since `since`, all that followed, in milliseconds."""

    since: int
    until: int
    intents: list[Json] = field(default_factory=list)
    sessions: list[Json] = field(default_factory=list)
    refunds: list[Json] = field(default_factory=list)
    disputes: list[Json] = field(default_factory=list)
    invoices: list[Json] = field(default_factory=list)


@dataclass
class _Booked:
    """What the ledger says of one payment or invoice."""

    organization_id: str
    created_at: int
    credited: int | None = None
    reversed: int = 0


def compare_money(conn: Connection, listed: Money) -> list[Difference]:
    """Compare payments, refunds, disputes and invoices with the ledger's entries against Stripe."""
    booked = _booked(conn, listed.since)
    return _payments(listed, booked) + _sessions(listed, booked) + _invoices(conn, listed, booked)


def _booked(conn: Connection, since: int) -> dict[str, _Booked]:
    rows = conn.execute(
        select(entries.c.subject, entries.c.organization_id, entries.c.created_at, lines.c.amount)
        .join(lines, lines.c.entry_id == entries.c.id)
        .where(lines.c.account == "stripe", entries.c.created_at >= since)
        .order_by(entries.c.created_at)
    )
    found: dict[str, _Booked] = {}
    for row in rows:
        base, _, step = row.subject.partition(".")
        item = found.setdefault(base, _Booked(row.organization_id, row.created_at))
        if step:
            item.reversed += int(row.amount)
        else:
            item.credited = -int(row.amount)
    return found


def _payments(listed: Money, booked: Mapping[str, _Booked]) -> list[Difference]:
    found: list[Difference] = []
    known = {intent["id"] for intent in listed.intents}
    for intent in listed.intents:
        payment = payment_of(intent)
        if payment is None or intent["status"] != "succeeded":
            continue
        if not listed.since <= intent["created"] * 1000 < listed.until:
            continue
        mine = booked.get(payment.id)
        found += _credited("payment", payment.id, payment.organization_id, payment.amount_micros, mine)
        back = _went_back(listed, payment.id)
        if mine is not None and mine.credited is not None and back != mine.reversed:
            found.append(
                Difference(
                    "refund",
                    payment.id,
                    payment.organization_id,
                    back,
                    mine.reversed,
                    "refunded and disputed at Stripe is not what the ledger reversed",
                )
            )
    for payment_id, mine in booked.items():
        if payment_id.startswith("pi_") and payment_id not in known and mine.credited is not None:
            found.append(
                Difference(
                    "payment",
                    payment_id,
                    mine.organization_id,
                    None,
                    mine.credited,
                    "credited, but Stripe lists no such payment",
                )
            )
    return found


def _credited(
    kind: str, object_id: str, organization_id: str | None, amount: int, mine: _Booked | None
) -> list[Difference]:
    if mine is None or mine.credited is None:
        text = "paid at Stripe, never credited"
        return [Difference(kind, object_id, organization_id, amount, None, text)]
    if mine.credited != amount:
        text = "credited with another amount than was paid"
        return [Difference(kind, object_id, organization_id, amount, mine.credited, text)]
    if mine.organization_id != organization_id:
        text = f"credited to {mine.organization_id}"
        return [Difference(kind, object_id, organization_id, amount, mine.credited, text)]
    return []


def _went_back(listed: Money, payment_id: str) -> int:
    def of(items: Sequence[Json]) -> list[tuple[str, int]]:
        return [
            (each.get("status") or "pending", int(each["amount"]) * CENT_MICROS)
            for each in items
            if each.get("payment_intent") == payment_id
        ]

    return due_reversal(of(listed.refunds), of(listed.disputes), 0)


def _sessions(listed: Money, booked: Mapping[str, _Booked]) -> list[Difference]:
    succeeded = {intent["id"] for intent in listed.intents if intent["status"] == "succeeded"}
    found: list[Difference] = []
    for session in listed.sessions:
        metadata = session.get("metadata") or {}
        intent = session.get("payment_intent") or ""
        if metadata.get("onereel") != "top_up" or session.get("payment_status") != "paid":
            continue
        in_time = listed.since <= session["created"] * 1000 < listed.until
        if not in_time or intent in succeeded:
            continue
        amount = int(session["amount_total"]) * CENT_MICROS
        found += _credited("checkout", session["id"], metadata["organization_id"], amount, booked.get(intent))
    return found


def _invoices(conn: Connection, listed: Money, booked: Mapping[str, _Booked]) -> list[Difference]:
    ours = {row.customer_id: row.organization_id for row in conn.execute(select(customers))}
    found: list[Difference] = []
    paid: set[str] = set()
    for invoice in listed.invoices:
        organization_id = ours.get(invoice.get("customer"))
        if organization_id is None or subscription_of(invoice) is None or invoice["status"] != "paid":
            continue
        amount = paid_micros(invoice)
        paid.add(invoice["id"])
        if amount and invoice["created"] * 1000 < listed.until:
            found += _credited("invoice", invoice["id"], organization_id, amount, booked.get(invoice["id"]))
    for invoice_id, mine in booked.items():
        if invoice_id.startswith("in_") and invoice_id not in paid:
            text = "credited, but Stripe lists no such paid invoice"
            found.append(Difference("invoice", invoice_id, mine.organization_id, None, mine.credited, text))
    return found


@dataclass(frozen=True, slots=True)
class Metered:
    """An organization whose usage Stripe bills."""

    organization_id: str
    customer_id: str


def metered(conn: Connection) -> list[Metered]:
    """List the organizations that have or had a subscription."""
    query = select(customers).where(customers.c.metered_since.is_not(None)).order_by(customers.c.customer_id)
    return [Metered(row.organization_id, row.customer_id) for row in conn.execute(query)]


def noted_by_day(conn: Connection, who: Metered, since: int, until: int) -> Days:
    """Sum what the ledger says of the usage that was noted for Stripe, without what was taken back.

    Of a capture that is what promotional credit did not cover: what its hold and itself took of the paid credit.
    """
    day = (meter_events.c.occurred_at - meter_events.c.occurred_at % DAY_MS).label("day")
    noted = (
        (meter_events.c.organization_id == who.organization_id)
        & (meter_events.c.occurred_at >= since)
        & (meter_events.c.occurred_at < until)
        & counts()
    )
    steps = entries.alias()
    captures = (
        select(day, func.sum(-lines.c.amount).label("amount"))
        .join(entries, entries.c.id == meter_events.c.id)
        .join(steps, (steps.c.subject == entries.c.subject) & steps.c.kind.in_(("hold", "capture")))
        .join(lines, (lines.c.entry_id == steps.c.id) & (lines.c.account == "customer"))
        .where(noted)
        .group_by(day)
    )
    openings = (
        select(day, func.sum(meter_events.c.value).label("amount"))
        .where(noted, meter_events.c.id.startswith(OPENING, autoescape=True))
        .group_by(day)
    )
    found: Days = {}
    for statement in (captures, openings):
        for row in conn.execute(statement):
            found[int(row.day)] = found.get(int(row.day), 0) + int(row.amount)
    return found


def compare_usage(who: Metered, noted: Days, summaries: Sequence[Json]) -> list[Difference]:
    """Compare a customer's usage with what Stripe's meter summed up, day by day."""
    sent: Days = {}
    for each in summaries:
        value = int(Decimal(str(each["aggregated_value"])))
        if value:
            sent[int(each["start_time"]) * 1000] = value
    return [
        Difference(
            "usage",
            f"{who.customer_id}:{_date(day)}",
            who.organization_id,
            sent.get(day, 0),
            noted.get(day, 0),
            "metered usage of the day is not what was captured",
        )
        for day in sorted({*noted, *sent})
        if sent.get(day, 0) != noted.get(day, 0)
    ]


def unfinished(conn: Connection, now: int) -> list[Difference]:
    """List what waits or was given up: events that failed, usage that never arrived, postpaid without a subscription."""
    failed = conn.execute(select(events).where(events.c.state == "failed").order_by(events.c.received_at))
    found = [
        Difference("event", row.id, None, None, None, f"{row.type} could not be handled: {row.error}")
        for row in failed
    ]
    stuck = conn.execute(
        select(meter_events)
        .where(
            (meter_events.c.state == "dead")
            | (meter_events.c.adjust == "dead")
            | ((meter_events.c.state == "pending") & (meter_events.c.occurred_at < now - _LATE_MS))
        )
        .order_by(meter_events.c.occurred_at)
    )
    for row in stuck:
        state = "not cancelled at Stripe" if row.adjust == "dead" else f"not sent ({row.state})"
        text = f"usage {state}: {row.last_error or 'it waits'}"
        found.append(Difference("usage", row.id, row.organization_id, None, row.value, text))
    return found + _unbilled(conn)


def _unbilled(conn: Connection) -> list[Difference]:
    """What postpaid organizations owe beyond what a subscription bills."""
    rows = conn.execute(
        select(balances.c.organization_id, customers.c.subscription_id, customers.c.subscription_status)
        .select_from(balances)
        .outerjoin(customers, customers.c.organization_id == balances.c.organization_id)
        .where(balances.c.mode == "postpaid", balances.c.available < 0)
        .order_by(balances.c.organization_id)
    ).all()
    found: list[Difference] = []
    for row in rows:
        debt, noted = owed(conn, row.organization_id), None
        if row.subscription_id is None:
            text = "owes for usage, but has no subscription that would bill it"
        elif row.subscription_status in ENDED:
            text = "owes for usage, but its subscription has ended"
        else:
            noted = noted_unpaid(conn, row.organization_id)
            text = "owes more than the usage that its subscription bills"
        if debt > (0 if noted is None else noted + _ROUNDED):
            found.append(
                Difference("subscription", row.organization_id, row.organization_id, noted, debt, text)
            )
    return found


def _date(day_ms: int) -> str:
    return datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()
