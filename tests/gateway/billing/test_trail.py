"""The money of one video: its own entries, the operator's costs, Stripe's meter."""

from typing import Any

import pytest
from sqlalchemy import Connection, insert

from billing.entries import entry_id
from billing.ledger import Hold, capture, hold_many, open_balance
from billing.ledger_costs import Cost, book_costs
from billing.ledger_moves import refund
from billing.stripe_tables import meter_events
from gateway.billing.trail import MoneyTrail
from gateway.db import Database
from gateway.errors import Forbidden
from gateway.principal import Principal, Scope

ORG, OTHER = "org_1", "org_2"
NOW = 1_800_000_000_000


def who(organization_id: str, *scopes: Scope) -> Principal:
    return Principal(organization_id, "proj_1", "user_1", frozenset(scopes))


def fill(conn: Connection) -> None:
    open_balance(conn, ORG, "postpaid", credit_limit=9_000_000)
    open_balance(conn, OTHER, "off")
    first = Hold("video_1", ORG, 4_000_000, NOW)
    assert hold_many(conn, [first, Hold("video_2", ORG, 1_000_000, NOW), Hold("video_3", OTHER, 1, NOW)])
    capture(conn, first, 3_000_000, NOW + 2000)
    book_costs(conn, [Cost("video_1", ORG, 2_000_000, NOW + 2000)])
    refund(conn, subject="video_1", organization_id=ORG, amount_micros=1_000_000, memo="dark", now=NOW + 9000)
    event: dict[str, Any] = {
        "id": entry_id("video_1", "capture"),
        "organization_id": ORG,
        "customer_id": "cus_1",
        "value": 3_000_000,
        "occurred_at": NOW + 2000,
        "state": "sent",
        "sent_at": NOW + 5000,
    }
    conn.execute(insert(meter_events), event)


async def test_the_entries_of_one_video(db: Database) -> None:
    await db.write(fill)
    trail = MoneyTrail(db)
    told = await trail.of(who(ORG, Scope.BILLING_READ), "video_1")
    assert [(each["type"], each["amount"]) for each in told] == [
        ("hold", "-4.000000"),
        ("capture", "1.000000"),
        ("refund", "1.000000"),
    ]
    assert [each["meter_event"] for each in told] == [
        None,
        {"state": "sent", "amount_usd": "3.000000", "sent_at": (NOW + 5000) // 1000},
        None,
    ]
    costs = await trail.of(who(ORG, Scope.OPERATOR), "video_1")
    assert [each["type"] for each in costs].count("cost") == 1


async def test_only_ones_own(db: Database) -> None:
    await db.write(fill)
    trail = MoneyTrail(db)
    assert await trail.of(who(OTHER, Scope.BILLING_READ), "video_1") == []
    assert await trail.of(who(ORG, Scope.BILLING_READ), "video_3") == []
    with pytest.raises(Forbidden):
        await trail.of(who(ORG, Scope.VIDEOS_READ), "video_1")
