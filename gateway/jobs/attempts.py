"""Reading attempts."""

from typing import Any

from sqlalchemy import Row, select

from gateway.db import Database
from gateway.jobs.tables import attempts


async def read_attempt(db: Database, attempt_id: str | None) -> Row[Any] | None:
    """The attempt's row; None for no id or an unknown one."""
    if attempt_id is None:
        return None
    return await db.read(
        lambda conn: conn.execute(select(attempts).where(attempts.c.id == attempt_id)).one_or_none()
    )
