"""A hundred thousand videos waiting over a million that have ended, on PostgreSQL: is anything slower for it? By hand:

python -m tests.bench.history [--history 1000000] [--waiting 100000] [--rounds 7]

Every question is asked of an empty database and of the full one in turn. Prints the median of the rounds, the ratio, and
every statement that PostgreSQL answers by reading a whole large table.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any, Final

from sqlalchemy import Connection, event, text

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.jobs import slots
from gateway.jobs.claims import KNOWN_STATES, claim, load
from gateway.jobs.runner import _until_due
from gateway.settings import Settings
from gateway.videos import lists
from tests.conftest import create_tables
from tests.postgres import create_database, execute, postgres

PROJECT: Final = "proj_default"
PROJECTS: Final = 20
CALLS: Final = 40
LARGE: Final = ("videos", "jobs", "attempts", "ledger_entries", "ledger_lines")
"""Tables that grow with every video."""

VIDEOS: Final = """
INSERT INTO videos (id, organization_id, project_id, key_id, group_id, operation, model, prompt, seconds, size, request,
    state, progress, version, cancel_requested, created_at, completed_at, expires_at, deadline, hold_micros, cost_micros,
    cost_status, billed_ms, retry_claims, content_key, content_type, content_bytes)
SELECT 'video_' || lpad(to_hex(n), 32, '0'), 'org_default',
    CASE WHEN n % {projects} = 0 THEN 'proj_default' ELSE 'proj_' || n % {projects} END, 'key_' || n % 40,
    CASE WHEN n % 10 < 2 THEN 'group_' || n / 10 END, 'generate', 'acme/fast', 'a cat on a mat, number ' || n, '8',
    '1280x720', '{{}}', '{state}', {progress}, 3, false, {at}, {ended}, {ended} + 2592000000, {at} + 86400000, 800000,
    {cost}, '{cost_status}', 8000, 0, {content}, 'video/mp4', 4000000
FROM generate_series({first}, {first} + {count} - 1) AS n
"""
ATTEMPTS: Final = """
INSERT INTO attempts (id, video_id, n, upstream, upstream_model, state, idempotency_key, holds_key_slot,
    holds_upstream_slot, created_at, submitted_at, finished_at)
SELECT replace(id, 'video', 'att'), id, 1, 'acme', 'fast-1', 'completed', id, false, false, created_at, created_at,
    completed_at FROM videos WHERE completed_at IS NOT NULL
"""
LEDGER: Final = """
INSERT INTO ledger_entries (id, subject, kind, seq, organization_id, created_at)
SELECT replace(id, 'video', kind), id, kind, 0, organization_id, created_at
FROM videos, (VALUES ('hold'), ('capture')) AS kinds(kind) WHERE completed_at IS NOT NULL OR kind = 'hold'
"""
LINES: Final = """
INSERT INTO ledger_lines (entry_id, account, amount)
SELECT id, account, amount FROM ledger_entries, (VALUES ('held', -800000), ('available', 800000)) AS each(account, amount)
"""
JOBS: Final = """
INSERT INTO jobs (id, kind, state, priority, due, parked_for, lease_until, fence, tries)
SELECT id, 'video', 'queued', 10,
    CASE WHEN rank <= {due} THEN created_at WHEN rank % 2 = 0 THEN {tomorrow} END,
    CASE WHEN rank > {due} AND rank % 2 = 1 THEN 'upstream:acme' END, 0, 1, 0
FROM (SELECT id, created_at, row_number() OVER (ORDER BY id) AS rank FROM videos WHERE completed_at IS NULL) AS waiting
"""


@dataclass
class Seen:
    """Statements that were carried out, by their text."""

    statements: dict[str, Any] = field(default_factory=dict)


async def fill(db: Database, history: int, waiting: int, *, asleep: bool = False) -> None:
    """Write so many videos that have ended and so many that wait, with what belongs to them.

    A few of those that wait are due, the others are parked or have their next poll ahead; or none is due and all sleep.
    """
    now = int(time.time() * 1000)
    await _videos(db, first=0, count=history, at=f"{now} - 3000000000 + n", state="completed")
    await _videos(db, first=history, count=waiting, at=f"{now} - 3600000 + n", state="queued")
    due = 0 if asleep else max(32, waiting // 50)
    for statement in (ATTEMPTS, LEDGER, LINES, JOBS.format(due=due, tomorrow=now + 86_400_000)):
        await db.write(partial(Connection.execute, statement=text(statement)))


async def _videos(db: Database, *, first: int, count: int, at: str, state: str) -> None:
    done = state == "completed"
    statement = VIDEOS.format(
        projects=PROJECTS,
        state=state,
        progress=100 if done else 0,
        at=at,
        ended=f"{at} + 60000" if done else "NULL::bigint",
        cost="800000" if done else "NULL",
        cost_status="captured" if done else "held",
        content="'videos/' || n" if done else "NULL",
        first=first,
        count=count,
    )
    await db.write(lambda conn: conn.execute(text(statement)))


def plan_of(conn: Connection, statement: str, parameters: Any) -> str:
    """What PostgreSQL would do for it."""
    return "\n".join(row[0] for row in conn.exec_driver_sql(f"EXPLAIN {statement}", parameters))


def reads_whole(plan: str) -> list[str]:
    """The large tables that this plan reads from end to end."""
    return [table for table in LARGE if f"Seq Scan on {table} " in plan]


class Place:
    """One database and the questions that are asked of it."""

    def __init__(self, url: str) -> None:
        database: Any = open_database(Settings(database_url=url), Clock())
        self.db: Database = database
        self.seen = Seen()
        self.ids: list[str] = []

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            self.seen.statements.setdefault(statement, parameters)

        event.listen(database._engine.sync_engine, "before_cursor_execute", note)

    async def fill(self, history: int, waiting: int) -> None:
        await self.db.write(create_tables)
        await fill(self.db, history, waiting)
        await self.db.write(lambda conn: slots.make_sure(conn, "upstream:acme"))
        self.ids = [f"video_{n:032x}" for n in range(0, history + waiting, PROJECTS)]

    def questions(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        ids = self.ids
        read = self.db.read

        def some() -> str:
            return random.choice(ids)

        def page(conn: Connection, *, after: str | None = None, descending: bool = True) -> Any:
            return lists.page(conn, PROJECT, after=after, limit=20, descending=descending)

        def take(conn: Connection) -> Any:
            with conn.begin_nested() as savepoint:
                rows = claim(conn, "bench", 12_000, 16, KNOWN_STATES)
                load(conn, rows)
                savepoint.rollback()

        return {
            "status": lambda: read(lambda conn: lists.find_versioned(conn, PROJECT, some())),
            "list, first page": lambda: read(page),
            "list, oldest first": lambda: read(lambda conn: page(conn, descending=False)),
            "list, somewhere deep": lambda: read(lambda conn: page(conn, after=some())),
            "claim of 16": lambda: self.db.write(take),
            "next due": lambda: read(lambda conn: _until_due(conn, KNOWN_STATES)),
            "wake the parked": lambda: self.db.write(lambda conn: slots.unpark(conn, "upstream:acme", 0)),
        }

    async def whole_reads(self) -> list[str]:
        """Statements whose plan reads a large table from end to end."""
        found = []
        for statement, parameters in list(self.seen.statements.items()):
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                plan = await self.db.read(partial(plan_of, statement=statement, parameters=parameters))
                found += [f"{statement}\n{plan}"] if reads_whole(plan) else []
        return found


@contextmanager
def places() -> Iterator[tuple[str, str]]:
    with postgres() as server:
        urls = create_database(server, "few"), create_database(server, "many")
        yield urls


async def timed(question: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call, the median of many."""
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await question()
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


async def compare(urls: tuple[str, str], options: argparse.Namespace) -> None:
    empty, full = Place(urls[0]), Place(urls[1])
    await empty.fill(PROJECTS * 20, PROJECTS * 4)
    began = time.perf_counter()
    await full.fill(options.history, options.waiting)
    for url in urls:
        execute(url, "VACUUM ANALYZE")
    print(
        f"{options.history:,} videos of history, {options.waiting:,} waiting: filled in {time.perf_counter() - began:.0f} s"
    )
    figures: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for name, question in full.questions().items():
            pair = await timed(empty.questions()[name]), await timed(question)
            figures.setdefault(name, []).append(pair)
    for name, pairs in figures.items():
        few, many = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
        ratio = median(pair[1] / pair[0] for pair in pairs)
        print(f"{name:22} empty {few:7.2f} ms   full {many:7.2f} ms   {ratio:5.2f}x")
    for each in await full.whole_reads():
        print(f"READS A WHOLE TABLE: {each}\n")
    await empty.db.close()
    await full.db.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--history", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with places() as urls:
        asyncio.run(compare(urls, options))


if __name__ == "__main__":
    main()
