"""SQLite: one writer thread with group commit (WAL, synchronous=FULL), a few reader threads."""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from gateway.clock import Clock
from gateway.db import BatchHandler, DatabaseUse, json_text, later
from gateway.db_group import Outcome, TransactionLost, Work, run_group, settle
from gateway.words import says

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741

GROUP: Final = 128
BACKGROUND_GROUP: Final = 24  # small, so that a create never waits long behind draining jobs
QUIET_SECONDS: Final = 0.2  # without a create for so long, background work fills whole groups
BACKGROUND_SECONDS: Final = 0.02  # how long a stream of creates may keep background work waiting
READERS: Final = 2


def sqlite_engine(path: Path, clock: Clock, *, read_only: bool = False) -> Engine:
    """An engine whose connections carry the pragmas and the functions of ours."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        json_serializer=json_text,
        hide_parameters=True,  # an error text must not carry prompts or secrets into a log
        connect_args={"check_same_thread": False, "timeout": 30.0},
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None
        # "deterministic" means asked once per statement, not once per row
        dbapi.create_function("onereel_now_ms", 0, clock.now_ms, deterministic=True)
        dbapi.create_function("onereel_says", 2, says, deterministic=True)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
            dbapi.execute(f"PRAGMA {pragma}")
        if read_only:
            dbapi.execute("PRAGMA query_only=ON")

    if not read_only:

        @event.listens_for(engine, "begin")
        def _begin(conn: Connection) -> None:
            conn.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _savepoint(conn: Connection, call: Callable[[], Any]) -> Any:
    conn.exec_driver_sql("SAVEPOINT item")
    try:
        result = call()
    except Exception as error:
        # On a full disk SQLite drops the whole transaction by itself: then nothing of this group stands.
        if not conn.connection.in_transaction:
            raise TransactionLost(str(error)) from error
        conn.exec_driver_sql("ROLLBACK TO item")
        conn.exec_driver_sql("RELEASE item")
        raise
    conn.exec_driver_sql("RELEASE item")
    return result


class SqliteDatabase:
    """The embedded database of one process; a lock file keeps a second process away."""

    dialect = "sqlite"

    def __init__(self, path: Path, clock: Clock) -> None:
        self._engine = sqlite_engine(path, clock)
        self._read_engine = sqlite_engine(path, clock, read_only=True)
        # A new file is switched to WAL while nobody else has it open: SQLite refuses that at once, without waiting.
        self._engine.connect().close()
        self._ready = threading.Condition()
        self._interactive: deque[Work] = deque()
        self._background: deque[Work] = deque()
        self._reads: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._background_at = 0.0
        self._interactive_at = float("-inf")
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [threading.Thread(target=self._write_loop, name="sqlite-writer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._read_loop, name=f"sqlite-reader-{n}", daemon=True)
            for n in range(READERS)
        ]
        for thread in self._threads:
            thread.start()

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
        """See `gateway.db.Database`."""
        work = Work(self._future(), fn=fn)
        self._reads.put(work)
        result: T = await work.future
        return result

    def use(self) -> DatabaseUse:
        """See `gateway.db.Database`: a writer and the readers, which are busy as long as work waits for them."""
        waiting, behind = len(self._interactive), len(self._background)
        busy = min(READERS, self._reads.qsize()) + (1 if waiting or behind else 0)
        return DatabaseUse(busy, READERS + 1 - busy, READERS + 1, waiting, behind)

    async def close(self) -> None:
        """See `gateway.db.Database`."""
        with self._ready:
            self._closing = True
            self._ready.notify_all()
        for _ in range(READERS):
            self._reads.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _future(self) -> asyncio.Future[Any]:
        if self._closing:
            raise RuntimeError("the database is closed")
        loop = asyncio.get_running_loop()
        self._loop = loop
        return loop.create_future()

    def _enqueue(self, work: Work, *, background: bool) -> asyncio.Future[Any]:
        with self._ready:
            (self._background if background else self._interactive).append(work)
            self._ready.notify()
        return work.future

    def _take(self) -> list[Work]:
        """The next group: interactive work, and now and then a little background work. Empty means closed."""
        with self._ready:
            while not self._interactive and not self._background:
                if self._closing:
                    return []
                self._ready.wait()
            group = [self._interactive.popleft() for _ in range(min(GROUP, len(self._interactive)))]
            now = time.monotonic()
            if group:
                self._interactive_at = now
            most = GROUP if now - self._interactive_at > QUIET_SECONDS else BACKGROUND_GROUP
            if not group or now - self._background_at > BACKGROUND_SECONDS:
                self._background_at = now
                group += [self._background.popleft() for _ in range(min(most, len(self._background)))]
            return group

    def _write_loop(self) -> None:
        with self._engine.connect() as conn:
            while group := self._take():
                self._report(_commit_group(conn, group))

    def _read_loop(self) -> None:
        with self._read_engine.connect() as conn:
            conn.execution_options(isolation_level="AUTOCOMMIT")
            while (work := self._reads.get()) is not None:
                group = [work]
                while len(group) < GROUP and not self._reads.empty():
                    try:
                        more = self._reads.get_nowait()
                    except queue.Empty:
                        break
                    if more is None:
                        self._reads.put(None)
                        break
                    group.append(more)
                self._report([(item, _read_one(conn, item)) for item in group])

    def _report(self, outcomes: list[Outcome]) -> None:
        if self._loop is not None:
            later(self._loop, [partial(settle, outcomes)])


def _read_one(conn: Connection, work: Work) -> Any:
    if work.future.cancelled() or work.fn is None:
        return None
    try:
        return work.fn(conn)
    except Exception as error:
        return error
    finally:
        conn.rollback()


def _commit_group(conn: Connection, group: list[Work]) -> list[Outcome]:
    try:
        with conn.begin():
            return run_group(conn, group, _savepoint)
    except Exception as error:
        return [(work, error) for work in group]
