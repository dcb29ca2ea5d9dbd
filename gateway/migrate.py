"""Bring the schema to this release's revision. alembic is imported only when there is something to do."""

from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, inspect, text

from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.settings import Settings

HEAD = "0011"

_MIGRATIONS = Path(__file__).parent.parent / "migrations"

log = structlog.get_logger(__name__)


def current_revision(conn: Connection) -> str | None:
    """The revision in the database, None for an empty one."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade(conn: Connection, revision: str = "head") -> None:
    """Run the missing migrations inside the caller's transaction."""
    from alembic import command  # noqa: PLC0415  (20 MB that a running server never needs)

    command.upgrade(_config(conn), revision)


def downgrade(conn: Connection, revision: str) -> None:
    """Undo migrations down to `revision`."""
    from alembic import command  # noqa: PLC0415

    command.downgrade(_config(conn), revision)


async def ensure_schema(settings: Settings) -> str:
    """Migrate if needed; answers the revision. Two processes at once: the second waits for the first. On PostgreSQL a
    schema of the next release is left as it is: during an update, and after a rollback, processes of both start on it."""
    database = open_database(settings, Clock())
    try:
        if await database.read(current_revision) != HEAD:
            await database.write(_locked_upgrade)
        return await database.read(lambda conn: current_revision(conn) or "")
    finally:
        await database.close()


def _locked_upgrade(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(727274001)"))
    revision = current_revision(conn)
    if revision == HEAD:
        return
    if conn.dialect.name == "postgresql" and not _is_known(revision):
        log.warning("schema_is_newer", revision=revision, release=HEAD)
        return
    upgrade(conn)


def _is_known(revision: str | None) -> bool:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory(str(_MIGRATIONS))
    return revision is None or revision in {each.revision for each in scripts.walk_revisions()}


def _config(conn: Connection) -> Any:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = conn
    return config
