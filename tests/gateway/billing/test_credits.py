"""What the list of credits says of each."""

from typing import Any

from sqlalchemy import Connection

from billing.ledger import open_balance
from billing.ledger_moves import credit, reverse
from billing.lots import grant_credit
from gateway.billing import store
from gateway.billing.view import public_credit
from gateway.db import Database
from gateway.keys.store import PageQuery

ORG = "org_1"
GIFT: dict[str, Any] = {"organization_id": ORG, "amount_micros": 5_000_000, "memo": "gift"}


async def test_a_credit_that_pays_a_debt_is_listed_once_and_whole(db: Database) -> None:
    """Its entry has two sides that grow: what was owed, and what is left of it."""

    def write(conn: Connection) -> list[str]:
        open_balance(conn, ORG, "prepaid")
        reverse(conn, subject="pi_1", organization_id=ORG, amount_micros=2_000_000, memo="dispute", now=1)
        credit(conn, subject="act_1", now=2, **GIFT)
        rows, more = store.credits_page(conn, ORG, PageQuery())
        assert not more
        return [public_credit(row)["amount_usd"] for row in rows]

    assert await db.write(write) == ["5.000000"]


async def test_a_grant_is_found_among_others_of_the_same_moment(db: Database) -> None:
    def write(conn: Connection) -> list[str]:
        open_balance(conn, ORG, "prepaid")
        for n in range(3):
            grant_credit(conn, subject=f"act_{n}", expires_at=9, now=2, **GIFT)
        return [public_credit(store.credit(conn, f"act_{n}"))["id"] for n in range(3)]

    assert await db.write(write) == ["act_0", "act_1", "act_2"]
