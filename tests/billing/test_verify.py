"""A verifier that cannot fail proves nothing: each kind of damage is named."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, update

from billing.ledger import Hold, capture, hold_many, open_balance
from billing.tables import balances, entries, lines, metadata
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
