"""The circuit breaker, on each database: its rules, and that only one video probes a half-open one."""

from pathlib import Path

from sqlalchemy import select, update

from gateway.db import Database, now_ms
from gateway.jobs import breaker, intents, slots
from gateway.jobs.tables import slots as slot_rows
from gateway.settings import Routing
from tests.gateway.jobs.bench import Engine, engine, upstream
from tests.gateway.jobs.test_edges import NOWHERE, begin, claimed, intent

RULES = Routing(failure_threshold=3, cool_down_seconds=10, longest_cool_down_seconds=35)


async def fail(db: Database, what: breaker.Failing = "submit", times: int = 1) -> list[bool]:
    return [await db.write(lambda conn: breaker.failed(conn, "acme", what, RULES)) for _ in range(times)]


async def reading(db: Database) -> breaker.Reading | None:
    return (await db.read(breaker.readings)).get("acme")


async def cool_down(db: Database) -> None:
    """Let the cool-down end."""
    await db.write(lambda conn: conn.execute(update(slot_rows).values(paused_until=now_ms() - 1)))


async def test_failures_in_a_row_open_it_and_each_opening_lasts_longer(db: Database) -> None:
    assert await fail(db, times=2) == [False, False]
    assert await db.write(lambda conn: breaker.succeeded(conn, "acme", "submit"))
    assert await reading(db) is None
    assert await fail(db, times=3) == [False, False, True]
    assert await fail(db) == [False]  # it is open already
    for opened, seconds in ((1, 10), (2, 20), (3, 35), (4, 35)):
        found = await reading(db)
        assert found is not None
        assert (found.opened, seconds - 2 < found.paused_ms / 1000 <= seconds) == (opened, True)
        await cool_down(db)
        assert await fail(db) == [True]  # half-open: one failure is enough
    await db.write(lambda conn: breaker.lift(conn, "acme"))
    assert await reading(db) is None


async def test_only_what_failed_can_prove_that_it_works(db: Database) -> None:
    await fail(db, "job", 3)
    assert not await db.write(lambda conn: breaker.succeeded(conn, "acme", "submit"))
    found = await reading(db)
    assert found is not None
    assert found.opened == 1
    assert await db.write(lambda conn: breaker.succeeded(conn, "acme", "job"))
    assert await reading(db) is None


async def test_old_failures_do_not_count(db: Database) -> None:
    await fail(db, times=2)
    await db.write(lambda conn: conn.execute(update(slot_rows).values(failed_at=now_ms() - 61_000)))
    assert await fail(db, times=2) == [False, False]


async def half_open(made: Engine) -> list[intents.Intent]:
    """A half-open breaker and three videos that would all like to go."""
    for _ in range(3):
        await made.add()
    await fail(made.db, times=3)
    await cool_down(made.db)
    return [intent(lease, room=50) for lease in (await claimed(made)).values()]


async def test_a_half_open_breaker_lets_one_video_through(db: Database, tmp_path: Path) -> None:
    async with engine(db, tmp_path, [upstream("acme", NOWHERE)], run=False) as made:
        items = await half_open(made)
        begun = await begin(made, *items[:2])
        assert [row is not None for row in begun] == [True, False]
        assert await begin(made, items[2]) == [None]  # nor one of another transaction
        assert await db.write(lambda conn: breaker.succeeded(conn, "acme", "submit"))
        waiting = [intent(lease, room=50) for lease in (await due_again(made)).values()]
        assert all(row is not None for row in await begin(made, *waiting))
        assert await db.write(slots.verify) == []


async def test_a_probe_whose_sender_died_is_not_waited_for(db: Database, tmp_path: Path) -> None:
    async with engine(db, tmp_path, [upstream("acme", NOWHERE)], run=False) as made:
        items = await half_open(made)
        await begin(made, items[0])
        await db.write(lambda conn: conn.execute(update(slot_rows).values(probe_until=now_ms() - 1)))
        (row,) = await begin(made, items[1])
        assert row is not None
        query = select(slot_rows.c.used).where(slot_rows.c.name == "upstream:acme")
        assert await db.read(lambda conn: conn.execute(query).scalar_one()) == 2


async def due_again(made: Engine):
    from gateway.jobs.tables import jobs

    def make(conn):
        conn.execute(update(jobs).where(jobs.c.state == "queued").values(due=now_ms(), lease_until=0))

    await made.db.write(make)
    return await claimed(made)
