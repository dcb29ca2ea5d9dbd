"""Reading attempts."""

from types import SimpleNamespace
from typing import Any

from gateway.db import Database
from gateway.videos import archive


async def read_attempt(db: Database, attempt_id: str | None) -> Any:
    """The attempt, columns as attributes, also of an archived video; None for no id or an unknown one."""
    if attempt_id is None:
        return None
    row = await db.read(lambda conn: archive.attempt(conn, attempt_id))
    return None if row is None else SimpleNamespace(**row)
