"""A verifier that cannot fail proves nothing: each kind of damage is named."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, update

from billing.ledger import Hold, capture, hold_many, open_balance
from billing.lots import grant_credit
from billing.tables import (
    balances,
    budget_holds,
    budget_periods,
    credit_lots,
    entries,
    hold_lots,
    lines,
    metadata,
)
from billing.verify import verify


@pytest.fixture
def books() -> Iterator[Connection]:
    made = create_engine("sqlite://")
    metadata.create_all(made)
    with made.begin() as conn:
        open_balance(conn, "org", "off")
        item = Hold("v1", "org", 400, 1)
        hold_many(conn, [item])
        capture(conn, item, 400, 2)
        assert verify(conn) == []
        yield conn


def test_an_entry_that_does_not_sum_to_zero(books: Connection) -> None:
    books.execute(update(lines).where(lines.c.account == "revenue").values(amount=401))
    assert "does not sum to zero" in verify(books)[0]


def test_an_entry_without_lines(books: Connection) -> None:
    books.execute(delete(lines).where(lines.c.entry_id.contains("capture")))
    assert any("does not sum to zero" in problem for problem in verify(books))


def test_a_balance_that_is_not_the_sum(books: Connection) -> None:
    books.execute(update(balances).values(available=1))
    assert "entries say" in verify(books)[0]


def test_settled_twice(books: Connection) -> None:
    books.execute(
        insert(entries).values(
            id="x", subject="v1", kind="release", seq=0, organization_id="org", created_at=1
        )
    )
    assert any("settled 2 times" in problem for problem in verify(books))


def test_charged_more_than_held(books: Connection) -> None:
    for account, amount in (("revenue", 500), ("customer", -100)):
        where = lines.c.entry_id.contains("capture") & (lines.c.account == account)
        books.execute(update(lines).where(where).values(amount=amount))
    assert any("charged 500: more than was held" in problem for problem in verify(books))


def test_resolved_with_more_than_was_held(books: Connection) -> None:
    hold_many(books, [Hold("v2", "org", 100, 1), Hold("v3", "org", 500, 1)])
    capture(books, Hold("v2", "org", 400, 1), 400, 2)
    assert verify(books) == ["v2 was held with 100, resolved with 400 and charged 400: more than was held"]


def test_promotional_credit_that_no_lot_has(books: Connection) -> None:
    grant_credit(books, subject="lot", organization_id="org", amount_micros=50, expires_at=9, memo="", now=1)
    assert verify(books) == []
    books.execute(update(credit_lots).values(remaining=40))
    assert verify(books) == ["organization org: 50 promotional credit, its lots have 40"]


def test_what_a_settled_hold_left_behind(books: Connection) -> None:
    books.execute(insert(hold_lots).values(subject="v1", lot_id="lot", amount=1))
    books.execute(insert(budget_holds).values(subject="v1", budget_id="b", period_start=0, amount=1))
    books.execute(insert(budget_periods).values(budget_id="b", period_start=0, used=0, alerted=0))
    assert verify(books) == [
        "hold_lots still has v1, which is settled",
        "budget_holds still has v1, which is settled",
        "budget b counts 0, its open holds alone are 1",
    ]
