"""Every stored secret under the newest key, and none lost on the way."""

import asyncio

from sqlalchemy import LargeBinary, insert, select, update

from gateway.crypto import SecretBox, new_key
from gateway.db import Database
from gateway.keys.tables import projects
from gateway.schema import METADATA
from gateway.secret_rotation import ENCRYPTED, rotate_secrets
from gateway.upstreams.tables import credentials
from gateway.webhooks.tables import webhook_endpoints

OLD, NEW = new_key(), new_key()


async def fill(db: Database, box: SecretBox, count: int) -> None:
    def rows(conn: object) -> None:
        execute = conn.execute  # type: ignore[attr-defined]
        for n in range(count):
            secret = box.encrypt(b"whsec")
            execute(
                insert(webhook_endpoints).values(
                    id=f"we_{n:04}", project_id="p", name="n", url="u", event_types=[], secret=secret,
                    previous_secret=box.encrypt(b"old") if n % 2 else None, secret_hint="h",
                    created_at=0, updated_at=0,
                )
            )  # fmt: skip
        for version in (1, 2):
            token = box.encrypt(b"key").decode()
            execute(insert(credentials).values(upstream="acme", version=version, secret=token, created_at=0))
        execute(
            insert(projects).values(
                id="p", organization_id="o", name="n", created_at=0, webhook_secret=secret
            )
        )

    await db.write(rows)


async def values(db: Database) -> list[bytes]:
    found: list[bytes] = []
    for _, column in ENCRYPTED:
        rows = await db.read(lambda conn, c=column: conn.execute(select(c)).scalars().all())  # type: ignore[misc]
        found += [row.encode() if isinstance(row, str) else row for row in rows if row]
    return found


async def test_everything_comes_under_the_newest_key(db: Database) -> None:
    await fill(db, SecretBox([OLD]), 250)
    both, newest = SecretBox([NEW, OLD]), SecretBox([NEW])
    await db.write(
        lambda conn: conn.execute(
            update(webhook_endpoints).where(webhook_endpoints.c.id == "we_0003").values(secret=b"")
        )
    )
    first = await rotate_secrets(db, both)
    assert (first.rotated, first.newest, first.unreadable) == (249 + 125 + 2 + 1, 0, 0)
    again = await rotate_secrets(db, both)
    assert (again.rotated, again.newest) == (0, first.rotated)
    assert {newest.decrypt(each) for each in await values(db)} == {b"whsec", b"old", b"key"}


async def test_what_a_server_writes_meanwhile_stands(db: Database) -> None:
    await fill(db, SecretBox([OLD]), 150)
    both = SecretBox([NEW, OLD])
    changed = SecretBox([OLD]).encrypt(b"made by a server")
    write = update(webhook_endpoints).where(webhook_endpoints.c.id > "we_0050").values(secret=changed)
    await asyncio.gather(rotate_secrets(db, both), db.write(lambda conn: conn.execute(write)))
    await rotate_secrets(db, both)
    texts = [SecretBox([NEW]).decrypt(each) for each in await values(db)]
    assert texts.count(b"made by a server") == 99


async def test_what_no_key_reads_is_told_and_left(db: Database) -> None:
    await fill(db, SecretBox([new_key()]), 1)
    found = await rotate_secrets(db, SecretBox([NEW, OLD]))
    assert (found.rotated, found.unreadable) == (0, 4)


def test_no_encrypted_column_is_forgotten() -> None:
    """Binary columns are secrets, but for the archive."""
    binary = {
        (table.name, column.name)
        for metadata in METADATA
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    known = {(table.name, column.name) for table, column in ENCRYPTED}
    assert binary - {("video_archive", "body")} == known - {("upstream_credentials", "secret")}
