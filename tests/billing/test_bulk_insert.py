"""Rows inserted with SQL made once: values of special types, computed columns, and what is refused."""

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    literal_column,
    select,
)

from billing.bulk_insert import BulkInsert

THINGS = Table(
    "things",
    MetaData(),
    Column("id", String(8), primary_key=True),
    Column("good", Boolean, nullable=False),
    Column("data", JSON(none_as_null=True)),
    Column("due", Integer, nullable=False),
    Column("memo", String(20)),
)


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    THINGS.metadata.create_all(engine)
    with engine.connect() as opened:
        yield opened


def test_rows_arrive_as_their_types_say(conn: Connection) -> None:
    add = BulkInsert(THINGS, ("id", "good", "data"), due=literal_column("10", Integer) + bindparam("wait"))
    add(conn, [{"id": "a", "good": True, "data": {"x": [1]}, "wait": 5, "beside": "ignored"}])
    add(
        conn,
        [
            {"id": "b", "good": False, "data": None, "wait": 0},
            {"id": "c", "good": True, "data": 1, "wait": 1},
        ],
    )
    assert [tuple(row) for row in conn.execute(select(THINGS).order_by(THINGS.c.id))] == [
        ("a", True, {"x": [1]}, 15, None),
        ("b", False, None, 10, None),
        ("c", True, 1, 11, None),
    ]
    assert conn.execute(select(THINGS.c.id).where(THINGS.c.data.is_(None))).scalars().all() == ["b"]


def test_a_row_without_a_column_is_refused(conn: Connection) -> None:
    add = BulkInsert(THINGS, ("id", "good"), due=literal_column("0"))
    with pytest.raises(KeyError):
        add(conn, [{"id": "a", "good": True}, {"id": "b"}])
    assert conn.execute(select(THINGS)).all() == []
