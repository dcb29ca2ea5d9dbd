"""Every stored secret under the newest encryption key, while servers run.

A value is replaced only where it still is what was read, so a secret that a server writes meanwhile stands. Whatever is
interrupted is done again: what is under the newest key already is left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, select, tuple_, update

from gateway.crypto import DecryptionError, SecretBox
from gateway.db import Database
from gateway.keys.tables import projects
from gateway.upstreams.tables import credentials
from gateway.webhooks.tables import webhook_endpoints

ENCRYPTED: Final[tuple[tuple[Table, Column[Any]], ...]] = (
    (credentials, credentials.c.secret),
    (projects, projects.c.webhook_secret),
    (webhook_endpoints, webhook_endpoints.c.secret),
    (webhook_endpoints, webhook_endpoints.c.previous_secret),
)
"""Every column that holds what a SecretBox made."""
BATCH: Final = 100


@dataclass(slots=True)
class Rotation:
    """What was found: re-encrypted now, under the newest key already, and readable by no configured key."""

    rotated: int = 0
    newest: int = 0
    unreadable: int = 0


async def rotate_secrets(db: Database, box: SecretBox) -> Rotation:
    """Go through all of them, a small transaction at a time."""
    found = Rotation()
    for table, column in ENCRYPTED:
        after: tuple[Any, ...] = ()
        while rows := await db.read(partial(_page, table, column, after)):
            after = tuple(rows[-1][:-1])
            if changed := _changed(rows, box, found):
                replace = partial(_replace, table, column, changed)
                found.rotated += await db.write(replace, background=True)
    return found


def _page(table: Table, column: Column[Any], after: tuple[Any, ...], conn: Connection) -> Sequence[Any]:
    keys = list(table.primary_key.columns)
    page = select(*keys, column.label("value")).where(column.is_not(None)).order_by(*keys).limit(BATCH)
    return conn.execute(page.where(tuple_(*keys) > after) if after else page).all()


def _changed(rows: Sequence[Any], box: SecretBox, found: Rotation) -> list[tuple[Any, Any]]:
    """The rows that are not under the newest key, each with its new value."""
    changed = []
    for row in rows:
        old = row.value
        if not old:  # the secret of a deleted endpoint
            continue
        token = old.encode() if isinstance(old, str) else old
        if box.is_newest(token):
            found.newest += 1
            continue
        try:
            new = box.encrypt(box.decrypt(token))
        except DecryptionError:
            found.unreadable += 1
            continue
        changed.append((row, new.decode() if isinstance(old, str) else new))
    return changed


def _replace(table: Table, column: Column[Any], changed: Sequence[tuple[Any, Any]], conn: Connection) -> int:
    count = 0
    for row, new in changed:
        where = [key == row[n] for n, key in enumerate(table.primary_key.columns)]
        done = conn.execute(update(table).where(*where, column == row.value).values({column.name: new}))
        count += done.rowcount
    return count
