"""INSERT of many rows with the SQL made once: SQLAlchemy's own way costs more per row than the database takes."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert
from sqlalchemy.sql.compiler import SQLCompiler

Row = Mapping[str, Any]


class BulkInsert:
    """Inserts into `columns` of a table; every row names all of them.

    `computed` are columns whose value is a SQL expression; its `bindparam`s are read from the rows too.
    """

    def __init__(self, table: Table, columns: Sequence[str], **computed: Any) -> None:
        self._table = table
        self._columns = columns
        self._computed = computed
        self._made: dict[str, tuple[str, Callable[[Row], tuple[Any, ...]]]] = {}

    def __call__(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Insert the rows. An IntegrityError is that of the database."""
        made = self._made.get(conn.dialect.name)
        if made is None:
            made = self._made[conn.dialect.name] = self._make(conn.dialect)
        sql, values = made
        conn.exec_driver_sql(sql, [values(row) for row in rows])

    def _make(self, dialect: Dialect) -> tuple[str, Callable[[Row], tuple[Any, ...]]]:
        statement = insert(self._table).values(**self._computed)
        compiled = statement.compile(dialect=dialect, column_keys=list(self._columns))
        names = compiled.positiontup if isinstance(compiled, SQLCompiler) else None
        if names is None:
            raise TypeError(f"{dialect.name} does not number its parameters")
        return str(compiled), _reader(names, [self._converter(name, dialect) for name in names])

    def _converter(self, name: str, dialect: Dialect) -> Callable[[Any], Any] | None:
        column = self._table.c.get(name)
        if column is None:
            return None
        return column.type.dialect_impl(dialect).bind_processor(dialect)


def _reader(
    names: Sequence[str], converters: Sequence[Callable[[Any], Any] | None]
) -> Callable[[Row], tuple[Any, ...]]:
    """Take a row's values in the order of the statement, those of special types as the driver wants them."""
    plain: Callable[[Row], tuple[Any, ...]] = operator.itemgetter(*names)
    special = [(n, convert) for n, convert in enumerate(converters) if convert is not None]
    if not special:
        return plain

    def read(row: Row) -> tuple[Any, ...]:
        values = list(plain(row))
        for n, convert in special:
            values[n] = convert(values[n])
        return tuple(values)

    return read
