"""The statement that people read: kinds, what was available after each entry, credit that ends, budgets of keys."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert
from sqlalchemy.engine import Engine

from billing.budgets import count_videos, period_start
from billing.ledger import Hold, capture, hold_many, open_balance
from billing.ledger_costs import Cost, book_costs
from billing.ledger_moves import credit, refund, top_up
from billing.lots import grant_credit
from billing.plans import Plan
from billing.tables import budgets, entries, lines
from gateway.billing.books import Books
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.jobs.tables import slots
from gateway.keys.service import operator_principal
from gateway.keys.store import PageQuery
from gateway.principal import Principal, Scope
from tests.bench.history import plan_of

ORG, OTHER = "org_1", "org_2"
NOW = 1_800_000_000_000
PAYER = Principal(ORG, "proj_1", "user_1", frozenset({Scope.BILLING_READ}))


def newest(limit: int = 100, after: str | None = None) -> PageQuery:
    return PageQuery(limit, after, True)


@pytest.fixture
def clock() -> Clock:
    return Clock(wall=lambda: NOW / 1000)


@pytest.fixture
async def books(db: Database, clock: Clock) -> Books:
    await db.write(fill)
    return Books(db, clock)


def fill(conn: Connection) -> None:
    """10 paid and 5 that ends; one video of 4 held and 3 charged, refunded whole; one of 2 held. Another's entry."""
    open_balance(conn, ORG, "prepaid")
    open_balance(conn, OTHER, "prepaid")
    common: Any = {"organization_id": ORG, "memo": "gift"}
    credit(conn, subject="act_1", amount_micros=10_000_000, now=NOW - 90, **common)
    grant_credit(
        conn, subject="act_2", amount_micros=5_000_000, expires_at=NOW + 1000, now=NOW - 80, **common
    )
    grant_credit(conn, subject="act_3", amount_micros=1_000_000, expires_at=NOW - 1, now=NOW - 70, **common)
    first = Hold("video_1", ORG, 4_000_000, NOW - 60)
    assert hold_many(conn, [first]) == [None]
    capture(conn, first, 3_000_000, NOW - 50)
    book_costs(conn, [Cost("video_1", ORG, 2_000_000, NOW - 50)])
    refund(conn, subject="video_1", organization_id=ORG, amount_micros=None, memo="flickers", now=NOW - 40)
    assert hold_many(conn, [Hold("video_2", ORG, 2_000_000, NOW - 30)]) == [None]
    credit(conn, subject="act_9", organization_id=OTHER, amount_micros=1, memo="theirs", now=NOW)


async def test_after_each_entry_stands_what_was_available_then(books: Books, db: Database):
    page = await books.statement(PAYER, newest())
    told = [(entry["type"], entry["amount"], entry["available_after"]) for entry in page.data]
    assert [kind for kind, *_ in told] == [
        "hold", "refund", "capture", "hold", "grant", "grant", "credit",
    ]  # fmt: skip
    standing = 0.0
    for _, amount, after in reversed(told):
        standing += float(amount)
        assert float(after) == pytest.approx(standing)
    assert told[-1] == ("credit", "10.000000", "10.000000")


async def test_pages_and_kinds_show_the_same_figures(books: Books):
    whole = {entry["id"]: entry for entry in (await books.statement(PAYER, newest())).data}
    seen, after, more = [], None, True
    while more:
        page = await books.statement(PAYER, newest(2, after))
        seen += page.data
        more, after = page.has_more, page.data[-1]["id"]
    assert seen == list(whole.values())
    rare = await books.statement(PAYER, newest(), ["grant", "credit"])
    assert rare.data == [entry for entry in whole.values() if entry["type"] in {"grant", "credit"}]
    assert not rare.has_more


async def test_figures_end_where_counting_would_take_long(db: Database, books: Books, clock: Clock):
    page = await Books(db, clock, most_counted=3).statement(PAYER, newest())
    assert [entry["available_after"] is None for entry in page.data] == [False] * 2 + [True] * 5


async def test_what_upstreams_take_is_for_operators_alone(books: Books):
    for kinds, message in ((["cost"], "'cost'"), (["nonsense"], "'nonsense'")):
        with pytest.raises(BadRequest, match=message) as caught:
            await books.page(PAYER, newest(), kinds)
        assert caught.value.param == "kind"
    operator = replace(operator_principal(), organization_id=ORG)
    found = await books.statement(operator, newest(), ["cost"])
    assert [entry["type"] for entry in found.data] == ["cost"]
    assert found.data[0]["amount"] == "0.000000"


async def test_a_file_of_one_kind(books: Books):
    parts = [part async for part in await books.csv(PAYER, descending=True, kinds=["refund"])]
    text = "".join(parts).splitlines()
    assert text[0].startswith("created_at,id,type")
    assert len(text) == 3
    assert all("refund" in line and "flickers" in line for line in text[1:])


async def test_credit_that_ends_with_what_is_left_of_it(books: Books):
    """A lot whose time is over is not there, though it was not swept yet."""
    (lot,) = await books.lots(PAYER)
    assert (lot["id"], lot["amount_usd"], lot["expires_at"]) == ("act_2", "5.000000", (NOW + 1000) // 1000)
    assert float(lot["remaining_usd"]) < 5


async def test_a_foreign_cursor_is_unknown(books: Books):
    with pytest.raises(BadRequest, match="act_9"):
        await books.statement(PAYER, newest(5, "act_9"))


async def test_budgets_of_keys(books: Books, db: Database):
    def write(conn: Connection) -> None:
        common: Any = {"period": "month", "unit": "usd", "amount": 5_000_000, "hard": True, "created_at": 1}
        rows: list[dict[str, Any]] = [
            {"id": "bud_1", "organization_id": ORG, "scope": "key", "scope_id": "key_1"},
            {"id": "bud_2", "organization_id": ORG, "scope": "user", "scope_id": "key_1"},
            {"id": "bud_3", "organization_id": OTHER, "scope": "key", "scope_id": "key_1"},
            {"id": "bud_4", "organization_id": ORG, "scope": "key", "scope_id": "key_2", "archived_at": 2},
        ]
        for row in rows:
            conn.execute(insert(budgets).values(**row, **common))

    await db.write(write)
    found = await books.budgets_of(PAYER, "key", ["key_1", "key_2"])
    assert {key: [each["id"] for each in each_of] for key, each_of in found.items()} == {"key_1": ["bud_1"]}
    assert found["key_1"][0]["used"] == "0.000000"
    assert await books.budgets_of(PAYER, "key", []) == {}


async def test_every_question_is_answered_from_an_index(db: Database, clock: Clock):
    """Among thirty thousand entries of videos, on each database."""
    rows = [
        {"id": f"led_hold_0_v{n}", "subject": f"v{n}", "kind": "hold", "seq": 0, "organization_id": ORG, "created_at": n}
        for n in range(30_000)
    ]  # fmt: skip

    def write(conn: Connection) -> None:
        fill(conn)
        conn.execute(insert(entries), rows)
        conn.execute(
            insert(lines), [{"entry_id": row["id"], "account": "customer", "amount": 0} for row in rows]
        )
        conn.exec_driver_sql("ANALYZE")

    await db.write(write)
    seen: dict[str, Any] = {}

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.setdefault(statement, parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        books = Books(db, clock)
        await books.statement(PAYER, newest(50))
        await books.statement(PAYER, newest(50), ["top_up", "refund"])
        await books.lots(PAYER)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    asked = {text: values for text, values in seen.items() if text.startswith("SELECT")}
    assert len(asked) >= 6
    for statement, parameters in asked.items():
        plan = await db.read(lambda conn, s=statement, p=parameters: _plan(conn, s, p))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        assert "Seq Scan on ledger_" not in plan, plan
        assert "SCAN ledger_" not in plan.replace("SCAN ledger_lines USING", ""), plan
        if "NOT IN ('hold'" in statement:
            assert "ix_ledger_entries_rare" in plan


def _plan(conn: Connection, statement: str, parameters: Any) -> str:
    if conn.dialect.name == "postgresql":
        return plan_of(conn, statement, parameters)
    rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return "\n".join(str(row[3]) for row in rows)


async def test_a_payment_that_has_arrived_and_what_the_plan_counts(books: Books, db: Database):
    assert not await books.topped_up(PAYER, 0)
    paid: Any = {"organization_id": ORG, "amount_micros": 1_000_000, "memo": "top-up", "now": NOW}
    await db.write(lambda conn: top_up(conn, subject="pi_1", **paid))
    assert await books.topped_up(PAYER, NOW // 1000)
    assert not await books.topped_up(PAYER, NOW // 1000 + 1)
    assert not await books.topped_up(replace(PAYER, organization_id=OTHER), 0)
    month = period_start("month", NOW)

    def write(conn: Connection) -> None:
        conn.execute(insert(slots).values(name=f"org:{ORG}", used=3))
        count_videos(conn, ORG, month, 12)

    await db.write(write)
    plan = Plan(id="small", concurrent_videos=5, fast_videos_per_month=10)
    used = await books.plan_use(replace(PAYER, plan=plan))
    assert used == {"running_videos": 3, "fast_videos": 10}
    assert await books.plan_use(replace(PAYER, organization_id=OTHER)) == {
        "running_videos": 0,
        "fast_videos": 0,
    }
