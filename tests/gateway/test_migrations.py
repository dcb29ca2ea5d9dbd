from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text

from gateway import migrate
from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.schema import METADATA
from gateway.settings import Settings


def differences(conn: Connection) -> list[object]:
    context = MigrationContext.configure(conn)
    return list(compare_metadata(context, METADATA))  # type: ignore[arg-type]  # its stub knows one MetaData only


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


async def test_a_schema_of_the_next_release_is_served_on_postgresql_alone(
    database_url: str, tmp_path: Path
) -> None:
    settings = Settings(database_url=database_url, data_dir=tmp_path)
    await migrate.ensure_schema(settings)
    database = open_database(settings, Clock())
    try:
        await database.write(
            lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = 'next'"))
        )
        if database.dialect == "postgresql":
            assert await migrate.ensure_schema(settings) == "next"
            assert await database.read(differences) == []
        else:
            with pytest.raises(CommandError, match="next"):
                await migrate.ensure_schema(settings)
    finally:
        await database.close()


def test_the_head_named_in_code_is_the_head_on_disk() -> None:
    scripts = ScriptDirectory(str(Path(migrate.__file__).parent.parent / "migrations"))
    assert scripts.get_current_head() == migrate.HEAD
