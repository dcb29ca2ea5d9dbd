"""Shared fixtures: a clock, and each database for real."""

import asyncio
import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
from sqlalchemy import Connection, make_url

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.schema import METADATA
from gateway.settings import Settings
from tests.postgres import create_database, drop_database, postgres

os.environ["ONEREEL_UPSTREAMS_FROM_ENV"] = "false"  # whatever keys the machine has
os.environ["OMP_NUM_THREADS"] = "1"  # torch's threads wait busily for those of the other test processes

hypothesis.settings.register_profile("onereel", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("onereel")


def pytest_configure(config: pytest.Config) -> None:
    """Each run gets a directory of its own: pytest's shared one is swept by other runs on the same machine."""
    if not config.option.basetemp and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="onereel-tests-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


LONG = frozenset({"test_schemathesis.py", "test_chaos.py", "test_overspending.py", "test_whole_way.py"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the long tests over the run, between files: one that begins last would end last."""
    long = [item for item in items if item.path.name in LONG]
    rest = [item for item in items if item.path.name not in LONG]
    files = [list(group) for _, group in itertools.groupby(rest, key=lambda item: item.path)]
    if not long or not files:
        return
    step = -(-len(files) // len(long))
    spread = [[item, *itertools.chain(*files[n * step : (n + 1) * step])] for n, item in enumerate(long)]
    items[:] = list(itertools.chain(*spread))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def every_line() -> None:
    """An application that another test made in this process may have asked for fewer lines of log."""
    structlog.reset_defaults()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL, one per test process."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: str) -> str:
    """The name of a database with every table, to be copied."""
    name = "with_every_table"
    asyncio.run(make_tables(create_database(postgres_server, name)))
    return name


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with every table, to be copied."""
    path = tmp_path_factory.mktemp("tables") / "tables.db"
    asyncio.run(make_tables(f"sqlite:///{path}"))
    return path


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """A database of its own for one test: empty, or with every table for those that ask for `db`."""
    name = f"t{uuid.uuid4().hex}"
    template = request.getfixturevalue("postgres_tables") if "db" in request.fixturenames else None
    yield create_database(postgres_server, name, template)
    drop_database(postgres_server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_url"))


def create_tables(conn: Connection) -> None:
    for metadata in METADATA:
        metadata.create_all(conn)


async def make_tables(url: str) -> None:
    database = open_database(Settings(database_url=url), Clock())
    await database.write(create_tables)
    await database.close()


@pytest.fixture
async def db(database_url: str, clock: Clock, tmp_path: Path, sqlite_tables: Path) -> AsyncIterator[Database]:
    """An open database with every table."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        shutil.copyfile(sqlite_tables, str(url.database))
    database = open_database(Settings(database_url=database_url, data_dir=tmp_path), clock)
    try:
        yield database
    finally:
        await database.close()
