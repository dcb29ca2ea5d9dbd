"""One way to the database: small synchronous functions over a SQLAlchemy `Connection`, run in groups.

`write(fn)` runs fn inside a transaction and returns after the commit is durable; many callers share one commit
(group commit), each in its own savepoint, so one refused item never harms its neighbours. `write_batch(handler,
item)` does the same for set-based statements: the handler gets all items of the group at once.
`read(fn)` runs fn outside any write lock. The same functions serve SQLite and PostgreSQL: on SQLite they run in one
writer thread and a few reader threads, on PostgreSQL over asyncpg.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import BigInteger, Connection, MetaData
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
)

BatchHandler = Callable[[Connection, Sequence[I]], Sequence[T | Exception]]


class now_ms(FunctionElement[int]):  # noqa: N801  (reads as the SQL function it is)
    """Milliseconds since the epoch by the clock that schedules: the database's, or the embedded process's."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _now_sqlite(_element: now_ms, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "onereel_now_ms()"


@compiles(now_ms, "postgresql")
def _now_postgresql(_element: now_ms, _compiler: SQLCompiler, **_kw: Any) -> str:
    # the time of the statement, not of the call: what is due can then be looked up in an index
    return "(extract(epoch from statement_timestamp()) * 1000)::bigint"


@dataclass(frozen=True, slots=True)
class DatabaseUse:
    """What one process has of the database now: connections, and writes that wait for the next group."""

    in_use: int
    idle: int
    most: int
    interactive: int
    background: int


class Database(Protocol):
    """What services and jobs see. Errors of the item's own function reach its own caller only."""

    dialect: str

    async def write(self, fn: Callable[[Connection], T], *, background: bool = False) -> T:
        """Run fn in a group transaction; `background` work yields to interactive work."""
        ...

    async def write_batch(self, handler: BatchHandler[I, T], item: I, *, background: bool = False) -> T:
        """Run handler once for all items of this group; an Exception in its answer is raised to that caller."""
        ...

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run fn on a snapshot, outside the writer."""
        ...

    def use(self) -> DatabaseUse:
        """Tell how busy it is."""
        ...

    async def close(self) -> None:
        """Finish what is queued, then close every connection."""
        ...


def json_text(value: Any) -> str:
    """Write a JSON column. What an upstream sent may hold what strict JSON does not: lone surrogates, huge numbers."""
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, OverflowError):
        return json.dumps(value)


def later(loop: asyncio.AbstractEventLoop, actions: Sequence[Callable[[], None]]) -> None:
    """Run actions on the loop from another thread, in one wake-up; a closed loop drops them."""

    def run() -> None:
        for action in actions:
            action()

    try:
        loop.call_soon_threadsafe(run)
    except RuntimeError:
        return
