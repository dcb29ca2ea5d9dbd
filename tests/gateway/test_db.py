import asyncio
from functools import partial

import pytest
from sqlalchemy import Connection, insert, make_url, select, update
from sqlalchemy.exc import DBAPIError

from gateway.db import Database, now_ms
from gateway.jobs.tables import slots


def add_slot(name: str, conn: Connection) -> None:
    conn.execute(insert(slots).values(name=name, used=0))


def count(conn: Connection) -> int:
    return len(conn.execute(select(slots.c.name)).all())


async def test_one_bad_item_among_fifty_fails_alone(db: Database) -> None:
    def add(name: str):
        return lambda conn: conn.execute(insert(slots).values(name=name, used=0)).rowcount

    def poison(conn: Connection) -> None:
        conn.execute(insert(slots).values(name="poison", used=0))
        conn.execute(insert(slots).values(name="poison", used=-1))

    results = await asyncio.gather(
        *(db.write(poison if n == 25 else add(f"s{n}")) for n in range(50)), return_exceptions=True
    )
    assert [n for n, r in enumerate(results) if isinstance(r, Exception)] == [25]
    assert await db.read(count) == 49


async def test_a_batch_handler_gets_all_items_and_refuses_one(db: Database) -> None:
    sizes: list[int] = []

    def handler(conn: Connection, items):
        sizes.append(len(items))
        good = [i for i in items if i != 3]
        conn.execute(insert(slots), [{"name": f"b{i}", "used": 0} for i in good])
        return [ValueError("three") if i == 3 else i * 10 for i in items]

    results = await asyncio.gather(*(db.write_batch(handler, i) for i in range(6)), return_exceptions=True)
    assert [r for r in results if not isinstance(r, Exception)] == [0, 10, 20, 40, 50]
    assert isinstance(results[3], ValueError)
    assert sum(sizes) == 6
    assert len(sizes) < 6
    assert await db.read(count) == 5


async def test_write_is_visible_to_the_next_read(db: Database) -> None:
    for n in range(20):
        await db.write(partial(add_slot, f"x{n}"))
        assert await db.read(count) == n + 1


async def test_the_clock_of_the_database(db: Database, clock) -> None:
    value = await db.read(lambda conn: conn.execute(select(now_ms())).scalar_one())
    assert abs(value - clock.now_ms()) < 5000


async def test_closed_refuses(database_url: str, clock, tmp_path) -> None:
    from gateway.db_open import open_database
    from gateway.settings import Settings

    database = open_database(Settings(database_url=database_url, data_dir=tmp_path), clock)
    await database.close()
    with pytest.raises(RuntimeError):
        await database.read(lambda conn: None)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_on_a_full_disk_everybody_is_told_and_nothing_half_stands(db: Database) -> None:
    def limit(pages: int, conn: Connection) -> int:
        return int(conn.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar_one())

    def big(n: int, conn: Connection) -> None:
        conn.execute(insert(slots).values(name=f"{n}-{'x' * 3000}", used=0))

    now = await db.write(partial(limit, 1))  # SQLite answers with what there is, it never shrinks
    await db.write(partial(limit, now + 4))
    results = await asyncio.gather(*(db.write(partial(big, n)) for n in range(60)), return_exceptions=True)
    stand = [n for n, result in enumerate(results) if result is None]
    rows = await db.read(lambda conn: conn.execute(select(slots.c.name)).scalars().all())
    assert sorted(int(row.partition("-")[0]) for row in rows) == stand
    assert len(stand) < 60
    await db.write(partial(limit, 1 << 30))
    await db.write(partial(big, 99))
    assert await db.read(count) == len(stand) + 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_process_that_stands_still_holds_nobody_up(db: Database, database_url: str) -> None:
    from gateway.db_postgres import PostgresDatabase

    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    stopped = PostgresDatabase(url.render_as_string(hide_password=False), stalled_seconds=0.3)
    take = update(slots).values(used=slots.c.used + 1)
    await db.write(partial(add_slot, "s"))
    try:
        async with stopped._engine.connect() as conn:
            await conn.execute(take)
            await asyncio.wait_for(db.write(lambda conn: conn.execute(take)), 10)
            with pytest.raises(DBAPIError):
                await conn.execute(take)
        used = await stopped.read(lambda conn: conn.execute(select(slots.c.used)).scalar_one())
    finally:
        await stopped.close()
    assert used == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_work_that_locks_in_order_by_itself_never_waits_in_a_circle(
    db: Database, database_url: str
) -> None:
    """Two processes: what one of them is asked first, the other is asked last."""
    from gateway.db_postgres import PostgresDatabase

    def count_up(name: str, conn: Connection, items):
        conn.execute(update(slots).where(slots.c.name == name).values(used=slots.c.used + len(items)))
        conn.exec_driver_sql("SELECT pg_sleep(0.02)")
        return [None for _ in items]

    names = ("a", "b", "c")
    handlers = [partial(count_up, name) for name in names]
    for name in names:
        await db.write(partial(add_slot, name))
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    other = PostgresDatabase(url.render_as_string(hide_password=False))
    try:
        for _ in range(5):
            forth = [db.write_batch(handler, n) for n in range(4) for handler in handlers]
            back = [other.write_batch(handler, n) for n in range(4) for handler in reversed(handlers)]
            alone = [db.write(lambda conn, each=each: each(conn, [None])) for each in handlers]  # type: ignore[misc]
            await asyncio.gather(*forth, *back, *alone)
        counts = await db.read(lambda conn: conn.execute(select(slots.c.used)).scalars().all())
        deadlocks = "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
        met = await db.read(lambda conn: conn.exec_driver_sql(deadlocks).one().deadlocks)
    finally:
        await other.close()
    assert counts == [5 * 9] * 3
    assert met == 0
