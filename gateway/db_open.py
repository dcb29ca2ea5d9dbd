"""Open the configured database."""

from pathlib import Path

from sqlalchemy.engine import make_url

from gateway.clock import Clock
from gateway.db import Database
from gateway.settings import Settings


def open_database(settings: Settings, clock: Clock) -> Database:
    """SQLite or PostgreSQL by `settings.resolved_database_url`. ValueError for anything else."""
    url = make_url(settings.resolved_database_url)
    backend = url.get_backend_name()
    if backend == "sqlite":
        from gateway.db_sqlite import SqliteDatabase  # noqa: PLC0415  (each backend loads only when used)

        if not url.database:
            raise ValueError("ONEREEL_DATABASE_URL names no SQLite file; use sqlite:////absolute/path.db")
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        return SqliteDatabase(Path(url.database), clock)
    if backend == "postgresql":
        from gateway.db_postgres import PostgresDatabase  # noqa: PLC0415  (keeps asyncpg out of embedded use)

        driver_url = url.set(drivername="postgresql+asyncpg")
        return PostgresDatabase(driver_url.render_as_string(hide_password=False))
    raise ValueError(f"ONEREEL_DATABASE_URL: '{backend}' is not supported; use sqlite:/// or postgresql://")
