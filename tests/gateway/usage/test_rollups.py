"""Rollups are what the videos add up to, however they end."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, event, func, select, update

from billing.rollups import DAY_MS, HOUR_MS
from billing.tables import entries, lines
from billing.usage_tables import usage_rollups
from gateway import migrate
from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.jobs.tables import attempts
from gateway.schema import METADATA
from gateway.settings import Settings
from gateway.usage.ended import correct_upstream_cost, verify_rollups
from gateway.videos import removal
from gateway.videos.tables import videos
from tests.gateway.usage.conftest import COSTS, ELSEWHERE, PRICE, Cinema, Film, begin, finish

MIXED = [
    Film(
        completed=n % 3 != 0,
        organization_id="org_here" if n % 4 else ELSEWHERE,
        project_id=f"proj_{n % 3}",
        key_id=f"key_{n % 5}",
        model=f"acme/{n % 2}",
        user=None if n % 7 == 0 else f"user {n % 6}",
        seconds=4 + n % 3,
        reported=None if n % 2 else n * 1000,
    )
    for n in range(50)
]


async def rollups(db: Database) -> list[dict[str, object]]:
    return await db.read(lambda conn: [dict(row) for row in conn.execute(select(usage_rollups)).mappings()])


async def test_a_batch_of_fifty_with_mixed_ends_is_what_a_recount_says(cinema: Cinema) -> None:
    await cinema.make(*MIXED)
    assert await cinema.problems() == []
    found = await rollups(cinema.db)
    hours = [row for row in found if row["grain"] == "h"]
    assert sum(int(row["completed"]) for row in hours) == sum(film.completed for film in MIXED)  # type: ignore[call-overload]
    assert sum(int(row["failed"]) for row in hours) == sum(not film.completed for film in MIXED)  # type: ignore[call-overload]
    for grain in "hdu":
        revenue = sum(int(row["revenue"]) for row in found if row["grain"] == grain)  # type: ignore[call-overload]
        assert revenue == sum(film.seconds * PRICE for film in MIXED if film.completed)


async def test_many_settles_at_once_lose_nothing(cinema: Cinema) -> None:
    await asyncio.gather(*(cinema.make(film) for film in MIXED[:24]))
    assert await cinema.problems() == []
    [total] = await cinema.rows(organization_id=ELSEWHERE)
    assert total.completed + total.failed == len([f for f in MIXED[:24] if f.organization_id == ELSEWHERE])


async def test_users_do_not_multiply_the_rows_of_keys(cinema: Cinema) -> None:
    await cinema.make(*(Film(user=f"user {n}") for n in range(40)))
    grains = [row["grain"] for row in await rollups(cinema.db)]
    assert (grains.count("h"), grains.count("d"), grains.count("u")) == (1, 1, 40)


async def test_an_extension_counts_what_it_added(cinema: Cinema) -> None:
    await cinema.make(Film(added_to=8, seconds=4, measured_ms=12_000))
    [row] = await cinema.rows()
    assert (row.billed_ms, row.revenue) == (4000, 4 * PRICE)


async def test_a_short_file_counts_what_was_charged(cinema: Cinema) -> None:
    await cinema.make(Film(seconds=8, measured_ms=5_250))
    [row] = await cinema.rows()
    assert (row.billed_ms, row.revenue) == (5250, 525_000)


async def test_a_deleted_video_stays_counted(cinema: Cinema) -> None:
    [video_id] = await cinema.make(Film())
    await cinema.db.write(lambda conn: removal.delete(conn, "proj_a", video_id))
    [row] = await cinema.rows()
    assert (row.completed, row.revenue) == (1, 4 * PRICE)
    assert await cinema.problems() == []


async def test_costs_are_the_revenue_of_the_ledger(cinema: Cinema) -> None:
    await cinema.make(*MIXED)

    def booked(conn: Connection) -> int:
        revenue = select(func.sum(lines.c.amount)).join(entries, entries.c.id == lines.c.entry_id)
        here = revenue.where(lines.c.account == "revenue", entries.c.organization_id == "org_here")
        return int(conn.execute(here).scalar_one())

    assert sum(row.revenue for row in await cinema.rows(COSTS)) == await cinema.db.read(booked)


async def test_a_late_upstream_cost_corrects_the_bucket_of_its_video(cinema: Cinema) -> None:
    [video_id] = await cinema.make(Film(completed=False, watched=True, user="ann"))

    def late(conn: Connection) -> None:
        conn.execute(update(attempts).values(cost_micros=70_000, cost_source="reported"))
        correct_upstream_cost(conn, video_id, 70_000, 1)

    await cinema.db.write(late)
    assert [row["upstream_cost"] for row in await rollups(cinema.db)] == [70_000] * 3
    of_costs = select(entries.c.seq, lines.c.amount).where(
        lines.c.entry_id == entries.c.id, lines.c.account == "upstream_cost"
    )
    booked = await cinema.db.read(lambda conn: conn.execute(of_costs).all())
    assert [tuple(row) for row in booked] == [(1, 70_000)]
    assert await cinema.problems() == []


PLANTED = [
    (update(usage_rollups).where(usage_rollups.c.grain == "d").values(revenue=1), "revenue -"),
    (update(usage_rollups).where(usage_rollups.c.grain == "u").values(completed=2), "(u: proj_a, ann) is off by completed +1"),
    (usage_rollups.delete().where(usage_rollups.c.grain == "h"), "completed -1"),
    (update(videos).values(billed_ms=1), "billed_ms +3999"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "says"), PLANTED)
async def test_a_planted_difference_is_found(cinema: Cinema, damage: object, says: str) -> None:
    await cinema.make(Film(user="ann"))
    assert await cinema.problems() == []
    await cinema.db.write(lambda conn: conn.execute(damage))  # type: ignore[call-overload]
    assert any(says in problem for problem in await cinema.problems())


films = st.builds(
    Film,
    completed=st.booleans(),
    organization_id=st.sampled_from(["org_here", ELSEWHERE]),
    project_id=st.sampled_from(["proj_a", "proj_b"]),
    key_id=st.sampled_from(["key_a", "key_b"]),
    model=st.sampled_from(["acme/fast", "acme/slow", "=1+1"]),
    user=st.one_of(st.none(), st.sampled_from(["ann", "bob"])),
    seconds=st.integers(1, 12),
    added_to=st.sampled_from([0, 4]),
    measured_ms=st.one_of(st.none(), st.integers(1, 20_000)),
    reported=st.one_of(st.none(), st.integers(0, 10**9)),
    watched=st.booleans(),
)


@given(st.lists(st.lists(films, max_size=4), max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_sequence_of_ends_is_what_a_recount_says(batches: list[list[Film]]) -> None:
    engine = create_engine("sqlite://")
    clock = Clock()

    @event.listens_for(engine, "connect")
    def _connect(dbapi, _record):
        dbapi.create_function("onereel_now_ms", 0, clock.now_ms)

    with engine.begin() as conn:
        for metadata in METADATA:
            metadata.create_all(conn)
        for batch in batches:
            finish(conn, [(film, *begin(conn, film, clock)) for film in batch])
            assert verify_rollups(conn) == []
        total = conn.execute(select(func.count()).select_from(videos)).scalar_one()
        counted = func.sum(usage_rollups.c.completed + usage_rollups.c.failed)
        for grain in "hdu":
            statement = select(counted).where(usage_rollups.c.grain == grain)
            assert (conn.execute(statement).scalar_one() or 0) == total
    engine.dispose()


async def test_the_migration_counts_what_ended_before_it(database_url: str, tmp_path: Path) -> None:
    options = Settings(database_url=database_url, data_dir=tmp_path)
    await migrate.ensure_schema(options)
    database = open_database(options, Clock())
    clock = Clock()
    made = [Film(user="ann"), Film(completed=False), Film(added_to=8, seconds=4), Film(reported=5)]
    try:
        await database.write(lambda conn: finish(conn, [(f, *begin(conn, f, clock)) for f in made]))
        before = await rollups(database)
        await database.write(lambda conn: migrate.downgrade(conn, "0002"))
        await database.write(migrate.upgrade)
        assert await database.read(verify_rollups) == []
        assert sorted(map(str, await rollups(database))) == sorted(map(str, before))
    finally:
        await database.close()


def test_buckets_begin_with_the_hour_and_the_day_in_utc() -> None:
    moment = 1_767_225_599_999  # the last millisecond of 2025
    assert (moment - moment % HOUR_MS, moment - moment % DAY_MS) == (1_767_222_000_000, 1_767_139_200_000)
