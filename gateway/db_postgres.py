"""PostgreSQL over asyncpg: the same synchronous functions, run in group transactions by a few committers."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from gateway.db import BatchHandler, DatabaseUse, json_text
from gateway.db_group import DatabaseAway, Outcome, Work, run_group, settle

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741

GROUP: Final = 64
BACKGROUND_GROUP: Final = 16
COMMITTERS: Final = 3
_OVERFLOW: Final = 4
RETRIES: Final = 5
STALLED_SECONDS: Final = 10.0
"""A process that stands still inside a transaction (stopped, swapped out, cut off) holds row locks that every other
process needs; after this the server ends the transaction. Ours never pause between two statements."""
_RETRY_STATES: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_AWAY_STATES: Final = ("08", "53", "57P")  # no connection, out of a resource, stopping or starting


def _savepoint(conn: Connection, call: Callable[[], Any]) -> Any:
    with conn.begin_nested():
        return call()


def _plain(_conn: Connection, call: Callable[[], Any]) -> Any:
    return call()


class PostgresDatabase:
    """Any number of processes may share it; counters are locked in one order, deadlocks are run again."""

    dialect = "postgresql"

    def __init__(self, url: str, *, pool_size: int = 6, stalled_seconds: float = STALLED_SECONDS) -> None:
        stalled = {"idle_in_transaction_session_timeout": f"{stalled_seconds * 1000:.0f}ms"}
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=_OVERFLOW,
            hide_parameters=True,
            json_serializer=json_text,
            connect_args={"server_settings": stalled},
        )
        self._most = pool_size + _OVERFLOW
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._interactive: deque[Work] = deque()
        self._background: deque[Work] = deque()
        self._committers: set[asyncio.Task[None]] = set()
        self._closing = False
        self._background_next = False

    async def write(self, fn: Callable[[Connection], T], *, background: bool = False) -> T:
        """See `gateway.db.Database`."""
        result: T = await self._enqueue(Work(self._future(), fn=fn), background=background)
        return result

    async def write_batch(self, handler: BatchHandler[I, T], item: I, *, background: bool = False) -> T:
        """See `gateway.db.Database`."""
        work = Work(self._future(), handler=handler, item=item)
        result: T = await self._enqueue(work, background=background)
        return result

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See `gateway.db.Database`. A connection found broken (server restarted) is replaced once."""
        if self._closing:
            raise RuntimeError("the database is closed")
        try:
            return await self._read_replacing(fn)
        except Exception as error:
            if is_away(error):
                raise DatabaseAway(str(error)) from error
            raise

    async def _read_replacing(self, fn: Callable[[Connection], T]) -> T:
        try:
            return await self._read_once(fn)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return await self._read_once(fn)

    async def _read_once(self, fn: Callable[[Connection], T]) -> T:
        async with self._autocommit.connect() as conn:
            return await conn.run_sync(fn)

    def use(self) -> DatabaseUse:
        """See `gateway.db.Database`."""
        pool, most = cast("QueuePool", self._engine.pool), self._most
        waiting = len(self._interactive), len(self._background)
        return DatabaseUse(pool.checkedout(), pool.checkedin(), most, *waiting)

    async def close(self) -> None:
        """See `gateway.db.Database`."""
        self._closing = True
        while self._committers:
            await asyncio.gather(*self._committers, return_exceptions=True)
        await self._engine.dispose()

    def _future(self) -> asyncio.Future[Any]:
        if self._closing:
            raise RuntimeError("the database is closed")
        return asyncio.get_running_loop().create_future()

    def _enqueue(self, work: Work, *, background: bool) -> asyncio.Future[Any]:
        (self._background if background else self._interactive).append(work)
        if len(self._committers) < COMMITTERS:
            task = asyncio.create_task(self._commit_loop())
            self._committers.add(task)
            task.add_done_callback(self._committers.discard)
        return work.future

    async def _commit_loop(self) -> None:
        await asyncio.sleep(0)  # callers of this turn of the loop share the first group
        while group := self._take():
            settle((work, _told(outcome)) for work, outcome in await self._commit(group))

    def _take(self) -> list[Work]:
        """What goes into one transaction: one function, or items of one handler, whose locks are in one order.

        Two pieces that lock in the right order each, one after the other, do not: mixed transactions of several
        processes would wait for each other in circles. Where both kinds of work wait, they take turns.
        """
        self._background_next = not self._background_next
        first, second = self._interactive, self._background
        if self._background_next:
            first, second = second, first
        queue = first or second
        most = GROUP if queue is self._interactive else BACKGROUND_GROUP
        return _alike(queue, most) if queue else []

    async def _commit(self, group: list[Work]) -> list[Outcome]:
        """Commit the group; where the database refused the group as a whole, each piece by itself.

        Nothing is run again after a lost connection: the commit may stand though its answer never came.
        """
        try:
            outcomes = await self._transaction(group)
        except Exception as error:
            if len(group) == 1:
                return await self._commit_single(group[0], error)
            outcomes = [(work, error) for work in group]
        settled: list[Outcome] = []
        for work, outcome in outcomes:
            if _is_conflict(outcome):
                settled.extend(await self._commit_single(work, outcome))
            else:
                settled.append((work, outcome))
        return settled

    async def _commit_single(self, work: Work, error: Exception) -> list[Outcome]:
        for attempt in range(RETRIES):
            if not _is_conflict(error):
                break
            await asyncio.sleep(0.005 * 2**attempt)
            try:
                outcomes = await self._transaction([work])
            except Exception as again:
                error = again
                continue
            if not _is_conflict(outcomes[0][1]):
                return outcomes
            error = outcomes[0][1]
        return [(work, error)]

    async def _transaction(self, group: list[Work]) -> list[Outcome]:
        async with self._engine.connect() as conn, conn.begin():
            if len(group) == 1:
                # a lone piece needs no savepoint, but its failure must undo the transaction
                return await conn.run_sync(_run_alone, group[0])
            return await conn.run_sync(run_group, group, _savepoint)


def _alike(queue: deque[Work], most: int) -> list[Work]:
    """Take the first, and what is like it of the next few; the rest stays in its order."""
    first = queue.popleft()
    if first.handler is None:
        return [first]
    group: list[Work] = [first]
    others: list[Work] = []
    while queue and len(group) + len(others) < most:
        work = queue.popleft()
        (group if work.handler == first.handler else others).append(work)
    queue.extendleft(reversed(others))
    return group


def _run_alone(conn: Connection, work: Work) -> list[Outcome]:
    outcomes = run_group(conn, [work], _plain)
    if isinstance(outcomes[0][1], Exception):
        conn.rollback()
    return outcomes


def _is_conflict(outcome: Any) -> bool:
    return isinstance(outcome, DBAPIError) and getattr(outcome.orig, "sqlstate", None) in _RETRY_STATES


def is_away(error: object) -> bool:
    """Whether the server is not there, as the driver says it: connecting, in a statement, or after a lost connection."""
    if isinstance(error, OSError | PendingRollbackError | NoConnectionFree):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_away(error.orig)
    return str(getattr(error, "sqlstate", None) or "").startswith(_AWAY_STATES)


def _told(outcome: Any) -> Any:
    """The outcome as its caller gets it."""
    if not isinstance(outcome, Exception) or not is_away(outcome):
        return outcome
    away = DatabaseAway(str(outcome))
    away.__cause__ = outcome
    return away
