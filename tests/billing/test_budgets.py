"""Budgets at the edge of a period, their marks, and what a late settlement corrects."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, create_engine, insert, select

from billing.budgets import (
    BudgetAlert,
    BudgetExceeded,
    mark_exhausted,
    period_end,
    period_start,
    reset_marks,
    seconds_text,
)
from billing.ledger import Hold, Spender, capture, hold_many, open_balance, release
from billing.tables import budget_holds, budget_periods, budgets, metadata

WHO = Spender("proj", "key", "anna")


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


LAST, NEXT = at(2026, 11, 30, 23, 59, 59), at(2026, 12, 1)


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        open_balance(connection, "org", "off")
        yield connection


def budget(conn: Connection, **changes: object) -> None:
    values = {
        "id": "b", "organization_id": "org", "scope": "user", "scope_id": "anna", "period": "month", "unit": "usd",
        "amount": 1000, "hard": True, "created_at": 0,
    }  # fmt: skip
    conn.execute(insert(budgets).values(**(values | changes)))


def hold(subject: str, amount: int, when: int = LAST) -> Hold:
    return Hold(subject, "org", amount, when, 4000, WHO)


def used(conn: Connection) -> dict[int, int]:
    return {row.period_start: row.used for row in conn.execute(select(budget_periods))}


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_hold_counts_in_the_period_of_its_creation(conn: Connection, period: str) -> None:
    budget(conn, period=period)
    old, new = period_start(period, LAST), period_start(period, NEXT)
    assert (period_end(period, old), new) == (new, NEXT)
    answers = hold_many(conn, [hold("v1", 700), hold("v2", 400), hold("v3", 700, NEXT)])
    assert [type(answer) for answer in answers] == [type(None), BudgetExceeded, type(None)]
    capture(conn, hold("v1", 700), 200, NEXT + 1)  # settled in the next period: the old one is corrected
    assert used(conn) == {old: 200, new: 700}
    release(conn, hold("v3", 700, NEXT), NEXT + 2)
    assert used(conn) == {old: 200, new: 0}
    assert conn.execute(select(budget_holds)).all() == []


def test_marks_are_told_once_and_the_last_where_it_refuses(conn: Connection) -> None:
    budget(conn)
    alerts: list[BudgetAlert] = []
    for n in range(4):
        answers = hold_many(conn, [hold(f"v{n}", 300)], alerts)
    assert [alert.percent for alert in alerts] == [50, 80]
    refusal = answers[0]
    assert isinstance(refusal, BudgetExceeded)
    told = mark_exhausted(conn, refusal)
    assert told is not None
    assert told.percent == 100
    assert mark_exhausted(conn, refusal) is None


def test_a_raised_budget_tells_its_marks_anew(conn: Connection) -> None:
    budget(conn)
    first: list[BudgetAlert] = []
    again: list[BudgetAlert] = []
    hold_many(conn, [hold("v1", 1000)], first)
    assert [alert.percent for alert in first] == [100]
    conn.execute(budgets.update().values(amount=10_000))
    reset_marks(conn, "b", 10_000, period_start("month", LAST))
    hold_many(conn, [hold("v2", 4500), hold("v3", 3000)], again)
    assert [alert.percent for alert in again] == [50, 80]


def test_a_soft_budget_refuses_nothing(conn: Connection) -> None:
    budget(conn, hard=False)
    assert hold_many(conn, [hold("v1", 5000), hold("v2", 5000)]) == [None, None]
    assert used(conn) == {period_start("month", LAST): 10_000}


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0"), (8000, "8"), (500, "0.5"), (12_345_678, "12345.678"), (1_234_567_000, "1234567")],
)
def test_seconds_are_written_exactly(milliseconds: int, text: str) -> None:
    assert seconds_text(milliseconds) == text
