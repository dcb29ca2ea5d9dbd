"""The oldest release that may still run on this schema: one row, written by migrations.

A migration that only adds (tables, nullable columns, columns with a default, indexes) leaves it. One that takes away
or changes what an earlier release uses names the first revision whose code does without it: `oldest_code = "0012"`.
"""

from typing import Final

from sqlalchemy import Column, Connection, Integer, String, Table, delete, insert, inspect, select

from gateway.db import metadata

FIRST: Final = "0012"
"""Releases before the row was there do not ask for it."""

schema_floor = Table(
    "schema_floor",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("oldest_code", String(32), nullable=False),
)


def oldest_code(conn: Connection) -> str | None:
    """The revision that a release must know at least; None in a database from before that was written down."""
    if not inspect(conn).has_table(schema_floor.name):
        return None
    return conn.execute(select(schema_floor.c.oldest_code)).scalar()


def set_oldest_code(conn: Connection, revision: str) -> None:
    """Write it, where the table is there."""
    if inspect(conn).has_table(schema_floor.name):
        conn.execute(delete(schema_floor))
        conn.execute(insert(schema_floor).values(id=1, oldest_code=revision))
