"""Bring the schema to this release's revision. alembic is imported only when there is something to do.

Revisions are numbers: a release runs on a schema of a later revision too, as long as that one's migrations only added
(see `gateway.schema_floor`). So the processes of an update run side by side.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.schema_floor import FIRST, oldest_code, set_oldest_code
from gateway.settings import Settings

log = structlog.get_logger(__name__)

HEAD = "0014"
SCRIPTS: Final = Path(__file__).parent.parent / "migrations"
LOCK_TIMEOUT_MS: Final = 2000
"""A change of a table waits so long for those who use it, and everyone else waits behind it."""
TRIES: Final = 30
_PAUSE_SECONDS: Final = 1.0
_LOCK_NOT_AVAILABLE: Final = "55P03"


class SchemaRefused(RuntimeError):
    """The database is of a release that this one cannot work with, or is too busy to be changed."""


def current_revision(conn: Connection) -> str | None:
    """The revision in the database, None for an empty one."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade(conn: Connection, revision: str = "head") -> None:
    """Run the missing migrations inside the caller's transaction."""
    from alembic import command  # noqa: PLC0415  (20 MB that a running server never needs)

    command.upgrade(_config(conn), revision)
    _write_floor(conn)


def downgrade(conn: Connection, revision: str) -> None:
    """Undo migrations down to `revision`."""
    from alembic import command  # noqa: PLC0415

    command.downgrade(_config(conn), revision)
    _write_floor(conn)


def is_newer(conn: Connection) -> bool:
    """Whether the schema is of a later release that this one can run beside. SchemaRefused where it cannot."""
    revision = current_revision(conn)
    if revision is None or revision <= HEAD:
        return False
    oldest = oldest_code(conn)
    if oldest is None or oldest > HEAD:
        raise SchemaRefused(
            f"The database is at revision {revision}, which needs a release of revision {oldest or revision} or later; "
            f"this one is of revision {HEAD}. Install the newer release, or restore the backup from before its upgrade."
        )
    return True


async def ensure_schema(settings: Settings) -> str:
    """Migrate if needed; answers the revision. Two processes at once: the second waits for the first.

    A schema of a later release is left as it is. SchemaRefused where this release cannot work with it.
    """
    database = open_database(settings, Clock())
    try:
        if await database.read(is_newer):
            revision = await database.read(current_revision)
            log.warning("schema_is_newer", revision=revision, release=HEAD)
        elif await database.read(current_revision) != HEAD:
            await _migrate(database)
        return await database.read(lambda conn: current_revision(conn) or "")
    finally:
        await database.close()


async def _migrate(database: Database) -> None:
    for left in reversed(range(TRIES)):
        try:
            await database.write(_locked_upgrade)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            if not left:
                raise SchemaRefused(
                    f"The schema could not be changed in {TRIES} tries: something keeps a table locked. End long "
                    "transactions (pg_stat_activity names them), then run `onereel db upgrade` again."
                ) from error
            log.warning("schema_locked", tries_left=left)
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


def _locked_upgrade(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(727274001)"))
        # only now: whoever waits for another upgrade may wait long
        conn.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
    if not is_newer(conn) and current_revision(conn) != HEAD:
        upgrade(conn)


def _write_floor(conn: Connection) -> None:
    """The latest of what the migrations so far ask for."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    revision = current_revision(conn)
    if revision is None:
        return
    scripts = ScriptDirectory.from_config(_config(conn)).iterate_revisions(revision, "base")
    set_oldest_code(conn, max([FIRST, *(getattr(each.module, "oldest_code", FIRST) for each in scripts)]))


def _config(conn: Connection) -> Any:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = conn
    return config
