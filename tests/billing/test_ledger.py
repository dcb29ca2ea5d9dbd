"""The ledger under any order of steps: whatever is tried, the books stay right."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.exc import IntegrityError

from billing.ledger import (
    Hold,
    InsufficientCredit,
    LedgerConflict,
    capture,
    hold_many,
    open_balance,
    release,
)
from billing.ledger_moves import credit
from billing.tables import balances, metadata
from billing.verify import verify
from gateway.db import Database


def engine() -> Engine:
    made = create_engine("sqlite://")
    metadata.create_all(made)
    return made


@pytest.fixture
def conn() -> Iterator[Connection]:
    with engine().begin() as connection:
        yield connection


def balance(conn: Connection, organization_id: str = "org") -> tuple[int, int]:
    row = conn.execute(select(balances).where(balances.c.organization_id == organization_id)).one()
    return row.available, row.held


def hold(subject: str, amount: int, organization_id: str = "org") -> Hold:
    return Hold(subject, organization_id, amount, 1)


def test_hold_then_capture_gives_back_the_rest(conn: Connection) -> None:
    open_balance(conn, "org", "prepaid")
    credit(conn, subject="act_1", organization_id="org", amount_micros=1000, memo="gift", now=1)
    assert hold_many(conn, [hold("v1", 400)]) == [None]
    assert balance(conn) == (600, 400)
    capture(conn, hold("v1", 400), 300, 2)
    assert balance(conn) == (700, 0)
    assert verify(conn) == []


def test_only_as_many_holds_as_the_credit_covers(conn: Connection) -> None:
    open_balance(conn, "org", "prepaid")
    credit(conn, subject="act_1", organization_id="org", amount_micros=700, memo="gift", now=1)
    answers = hold_many(conn, [hold(f"v{n}", 100) for n in range(10)])
    assert [isinstance(a, InsufficientCredit) for a in answers] == [False] * 7 + [True] * 3
    assert balance(conn) == (0, 700)
    assert verify(conn) == []


def test_postpaid_reaches_to_its_limit_and_off_has_none(conn: Connection) -> None:
    open_balance(conn, "org", "postpaid", credit_limit=250)
    assert [a is None for a in hold_many(conn, [hold(f"v{n}", 100) for n in range(4)])] == [
        True,
        True,
        False,
        False,
    ]
    open_balance(conn, "free", "off")
    assert hold_many(conn, [hold("w", 10**12, "free")]) == [None]


@pytest.mark.parametrize("second", ["capture", "release", "hold"])
@pytest.mark.parametrize("first", ["capture", "release"])
def test_every_step_happens_once(conn: Connection, first: str, second: str) -> None:
    open_balance(conn, "org", "off")
    hold_many(conn, [hold("v1", 400)])
    steps = {
        "capture": lambda: capture(conn, hold("v1", 400), 400, 2),
        "release": lambda: release(conn, hold("v1", 400), 2),
        "hold": lambda: hold_many(conn, [hold("v1", 400)]),
    }
    steps[first]()
    with pytest.raises((LedgerConflict, IntegrityError)):
        steps[second]()


def test_a_charge_never_exceeds_its_hold(conn: Connection) -> None:
    open_balance(conn, "org", "off")
    hold_many(conn, [hold("v1", 400)])
    for amount in (401, -1):
        with pytest.raises(LedgerConflict):
            capture(conn, hold("v1", 400), amount, 2)


def test_an_organization_without_a_balance_is_refused_alone(conn: Connection) -> None:
    with pytest.raises(LedgerConflict):
        hold_many(conn, [hold("v1", 400, "nobody")])


async def test_concurrent_creates_cannot_overspend(db: Database) -> None:
    def start(conn: Connection) -> None:
        open_balance(conn, "org", "prepaid")
        credit(conn, subject="act_1", organization_id="org", amount_micros=700, memo="gift", now=1)

    await db.write(start)

    async def create(n: int) -> bool:
        answers = await db.write(lambda conn: hold_many(conn, [hold(f"v{n}", 100)]))
        return answers[0] is None

    assert sum(await asyncio.gather(*(create(n) for n in range(200)))) == 7
    assert await db.read(balance) == (0, 700)
    assert await db.read(verify) == []
