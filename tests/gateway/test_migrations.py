import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from gateway import migrate
from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.schema import EXPRESSIONS, METADATA, PARTITIONS
from gateway.schema_floor import FIRST, oldest_code, set_oldest_code
from gateway.settings import Settings


def differences(conn: Connection) -> list[object]:
    context = MigrationContext.configure(
        conn, opts={"include_name": _is_no_partition, "include_object": _can_be_compared}
    )
    return list(compare_metadata(context, METADATA))  # type: ignore[arg-type]  # its stub knows one MetaData only


def _is_no_partition(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and name is not None and PARTITIONS.fullmatch(name))


def _can_be_compared(_each: object, name: str | None, kind: str, _reflected: object, _other: object) -> bool:
    """PostgreSQL writes expressions in words of its own."""
    return not (kind == "index" and name in EXPRESSIONS)


async def test_the_index_of_an_expression_is_there(database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=database_url, data_dir=tmp_path)
    await migrate.ensure_schema(settings)
    database = open_database(settings, Clock())
    try:
        found = await database.read(
            lambda conn: {each["name"] for each in inspect(conn).get_indexes("videos")}
        )
        assert found >= EXPRESSIONS if database.dialect == "postgresql" else not EXPRESSIONS & found
    finally:
        await database.close()


async def test_up_and_down_and_nothing_left_to_migrate(database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=database_url, data_dir=tmp_path)
    assert await migrate.ensure_schema(settings) == migrate.HEAD
    assert await migrate.ensure_schema(settings) == migrate.HEAD
    database = open_database(settings, Clock())
    try:
        assert await database.read(differences) == []
        await database.write(lambda conn: migrate.downgrade(conn, "base"))
        left = await database.read(lambda conn: inspect(conn).get_table_names())
        assert left == ["alembic_version"]
        await database.write(migrate.upgrade)
        assert await database.read(differences) == []
    finally:
        await database.close()


def test_the_head_named_in_code_is_the_head_on_disk() -> None:
    scripts = ScriptDirectory(str(Path(migrate.__file__).parent.parent / "migrations"))
    assert scripts.get_current_head() == migrate.HEAD


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Settings, Database]]:
    """A migrated database, open."""
    settings = Settings(database_url=database_url, data_dir=tmp_path)
    await migrate.ensure_schema(settings)
    database = open_database(settings, Clock())
    yield settings, database
    await database.close()


async def _one_revision_ahead(database: Database, oldest: str = FIRST) -> None:
    await database.write(
        lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = :n"), {"n": "9999"})
    )
    await database.write(lambda conn: set_oldest_code(conn, oldest))


async def test_a_schema_that_only_grew_is_worked_with(database: tuple[Settings, Database]) -> None:
    settings, db = database
    await _one_revision_ahead(db)
    with capture_logs() as logs:
        assert await migrate.ensure_schema(settings) == "9999"
    assert [(line["event"], line["revision"]) for line in logs] == [("schema_is_newer", "9999")]


async def test_a_schema_that_lost_what_this_release_uses_is_refused(
    database: tuple[Settings, Database],
) -> None:
    settings, db = database
    await _one_revision_ahead(db, oldest="9999")
    with pytest.raises(migrate.SchemaRefused, match="needs a release of revision 9999 or later"):
        await migrate.ensure_schema(settings)


async def test_the_floor_is_the_latest_that_a_migration_names(
    database: tuple[Settings, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release whose migration takes something away: the ones before it are refused, itself and later ones not."""
    settings, db = database
    assert await db.read(oldest_code) == FIRST
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts)
    script = "revision = '{0}'\ndown_revision = '{1}'\n{2}def upgrade(): pass\ndef downgrade(): pass\n"
    following = [f"{int(migrate.HEAD) + n:04}" for n in (1, 2)]
    names = [migrate.HEAD, *following]
    for n, more in ((0, f"oldest_code = '{following[0]}'\n"), (1, "")):
        path = scripts / "versions" / f"{following[n]}.py"
        path.write_text(script.format(following[n], names[n], more))
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    await db.write(migrate.upgrade)
    assert await db.read(oldest_code) == following[0]
    with pytest.raises(migrate.SchemaRefused):
        await migrate.ensure_schema(settings)
    monkeypatch.setattr(migrate, "HEAD", following[0])
    assert await migrate.ensure_schema(settings) == following[1]
    await db.write(lambda conn: migrate.downgrade(conn, names[0]))
    assert await db.read(oldest_code) == FIRST


async def test_two_upgrades_at_once_and_a_table_in_use(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a lock ends soon, so that nobody waits behind it for long; then it is tried again."""
    settings = Settings(database_url=postgres_url, data_dir=tmp_path)
    database = open_database(settings, Clock())
    await database.write(lambda conn: migrate.upgrade(conn, "0007"))
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(migrate, "_PAUSE_SECONDS", 0.1)
    engine = create_async_engine(postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as conn:
        await conn.execute(text("LOCK TABLE videos IN ACCESS SHARE MODE"))
        with capture_logs() as logs:
            upgrades = [asyncio.create_task(migrate.ensure_schema(settings)) for _ in range(2)]
            while not logs:
                await asyncio.sleep(0.02)
            await conn.rollback()
            assert await asyncio.gather(*upgrades) == [migrate.HEAD] * 2
    assert {line["event"] for line in logs} == {"schema_locked"}
    monkeypatch.setattr(migrate, "TRIES", 1)
    await database.write(lambda conn: migrate.downgrade(conn, "0007"))
    async with engine.connect() as conn:
        await conn.execute(text("LOCK TABLE videos IN ACCESS SHARE MODE"))
        with pytest.raises(migrate.SchemaRefused, match="keeps a table locked"):
            await migrate.ensure_schema(settings)
    await engine.dispose()
    await database.close()
