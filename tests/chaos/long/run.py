"""The long form: many videos through the cluster while everything fails in turn, then the proof."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Connection, func, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.jobs.tables import attempts, jobs, outbox
from gateway.settings import Settings
from gateway.videos.states import LIVE
from gateway.videos.tables import videos
from tests.chaos.checker import Findings, Upstream, check
from tests.chaos.long.clients import Clients
from tests.chaos.long.cluster import Cluster
from tests.chaos.long.faults import LIMIT, ROUND, Faults
from tests.chaos.long.members import all_ready
from tests.chaos.long.timeline import Mark, plot

OUT: Final = Path("out")
FULL: Final = 2000
A_ROUND: Final = 500
"""Videos to one round of all faults."""
IN_FLIGHT: Final = 40
PATIENCE: Final = 180.0
STARTING: Final = 180.0


@dataclass
class Result:
    """What the run found, and what it can be judged by."""

    findings: Findings
    faults: Faults
    counts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """Broken invariants, slow ways back, and windows into which too few kills fell."""
        late = [
            f"after {mark.kind} at {mark.begun:.0f} s the way back took {mark.back:.1f} s ({list(mark.ways)[-1]})"
            for mark in self.faults.marks
            if mark.back > LIMIT
        ]
        few = [f"the run is void, too few kills fell into {window}" for window in self.faults.missing]
        return [*self.findings.problems, *late, *few]


class LongRun:
    """One run."""

    def __init__(self, folder: Path, many: int, console: Console, only: Collection[str] = ROUND) -> None:
        self.many = many
        self.console = console
        self.cluster = Cluster(folder)
        rounds = max(1, many // A_ROUND)
        chosen = [kind for kind in ROUND if kind in only]
        self.order = [kind for _ in range(rounds) for kind in random.sample(chosen, len(chosen))]
        needed = (
            {"submit": 5, "store": 5, "settle": 3} if many >= FULL else dict.fromkeys(("submit", "store"), 1)
        )
        self.needed = {**needed, "settle": needed.get("settle", 1)}
        self.created = 0
        self.ended: list[float] = []
        self.terminal = 0
        self.started = time.monotonic()

    async def run(self) -> Result:
        """Start, strike, settle, check."""
        try:
            await self.cluster.start()
            database = open_database(
                Settings(database_url=self.cluster.database_url, data_dir=self.cluster.folder), Clock()
            )
            try:
                return await self._run(database)
            finally:
                await database.close()
        finally:
            await self.cluster.stop()

    async def _run(self, database: Database) -> Result:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(timeout=5, limits=limits) as http:
            members = self.cluster.members
            await all_ready([*members[:-1]], http, STARTING)
            self.cluster.start_other_workers()
            await all_ready(members, http, STARTING)
            clients = Clients(self.cluster.apis, http, self.cluster.receiver.host)
            await clients.prepare(max(500, self.many))
            self.started = time.monotonic()
            faults = Faults(self.cluster, clients, _live_of(database), self.needed)
            with self._shown(faults) as shown:
                watching = asyncio.create_task(self._watch(database, shown))
                load = asyncio.gather(*(self._load(clients, faults, n) for n in range(16)))
                await self._trouble(faults)
                await load
                await self._settle(database, http)
                watching.cancel()
            return await self._proof(database, clients, faults)

    async def _load(self, clients: Clients, faults: Faults, share: int) -> None:
        """Videos come as the faults do, so that each finds some in every state."""
        for n in range(share, self.many, 16):
            while self.created - self.terminal > IN_FLIGHT or self._is_early(n, faults):
                await asyncio.sleep(0.1)
            self.created += 1
            await clients.make(n)

    def _is_early(self, n: int, faults: Faults) -> bool:
        return n > self.many * (len(faults.marks) + 1.5) / (len(self.order) + 1)

    async def _trouble(self, faults: Faults) -> None:
        for number, kind in enumerate(self.order):
            while self.created < self.many * number * 0.95 / len(self.order):
                await asyncio.sleep(0.1)
            await asyncio.sleep(random.uniform(0.5, 2.0))
            self._told(await faults.strike(kind))
        for _ in range(3 * len(ROUND)):
            if faults.missing:
                self._told(await faults.strike("kill jobs"))

    def _told(self, mark: Mark) -> None:
        late = f", more than {LIMIT:.0f} s" if mark.back > LIMIT else ""
        down = mark.lifted - mark.begun
        ways = ", ".join(f"{name} {seconds:.1f}" for name, seconds in mark.ways.items())
        self.console.print(
            f"  {mark.begun:.0f} s, {mark.kind}: down {down:.1f} s, way back {mark.back:.1f} s{late} ({ways}; load {mark.load:.0f})"
        )

    async def _watch(self, database: Database, shown: Any) -> None:
        """Count what came to its end, twice a second; the database may be away."""
        query = select(func.count()).where(videos.c.state.not_in(LIVE))
        while True:
            with contextlib.suppress(Exception):
                found = await asyncio.wait_for(database.read(lambda conn: conn.scalar(query)), 5)
                now = time.monotonic() - self.started
                self.ended += [now] * max(0, int(found or 0) - self.terminal)
                self.terminal = max(self.terminal, int(found or 0))
            shown()
            await asyncio.sleep(0.5)

    @contextlib.contextmanager
    def _shown(self, faults: Faults) -> Iterator[Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            ends = progress.add_task("videos", total=self.many)
            struck = progress.add_task("faults", total=len(self.order))

            def show() -> None:
                progress.update(ends, completed=min(self.terminal, self.many))
                progress.update(struck, completed=len(faults.marks))

            yield show

    async def _settle(self, database: Database, http: httpx.AsyncClient) -> None:
        """Wait until nothing is live and every event is delivered, or patience ends."""
        pending = select(func.count()).select_from(outbox).where(outbox.c.state == "pending")
        busy = select(select(func.count()).select_from(jobs).scalar_subquery() + pending.scalar_subquery())
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if await database.read(lambda conn: conn.scalar(busy)) == 0:
                return
            for member in self.cluster.members:
                member.supervise()
            await asyncio.sleep(0.5)

    async def _proof(self, database: Database, clients: Clients, faults: Faults) -> Result:
        upstreams = self.cluster.upstreams.found()
        found = await check(
            database,
            clients.accepted.values(),
            upstreams,
            self.cluster.receiver,
            self.cluster.objects.read,
            organizations=[each.id for each in clients.organizations],
            untold=clients.untold,
        )
        found.problems += clients.problems + await database.read(partial(_beyond, upstreams=upstreams))
        counts = {
            "accepted": len(clients.accepted),
            **dict(sorted(clients.counts.items())),
            "storage requests refused": self.cluster.objects.refused,
            "events told twice": found.redelivered,
            "jobs at the five upstreams": sum(each.stats["jobs"] for each in upstreams),
            **await database.read(_counts),
            "process starts": sum(member.starts for member in self.cluster.members),
        }
        lines = await database.read(_histories)
        (self.cluster.folder / "attempts.jsonl").write_text("".join(f"{line}\n" for line in lines))
        seconds = time.monotonic() - self.started
        OUT.mkdir(exist_ok=True)
        (OUT / "chaos-timeline.svg").write_text(plot(self.ended, faults.marks, seconds))
        return Result(found, faults, counts, seconds)


def _beyond(conn: Connection, upstreams: Iterable[Upstream]) -> list[str]:
    """An attempt makes one job at most, also where the upstream knows no key by which a second would be seen."""
    known = Counter(conn.scalars(select(attempts.c.upstream)))
    return [
        f"{each.name} ({each.safety}) made {each.stats['jobs']} jobs for {known[each.name]} attempts"
        for each in upstreams
        if each.stats["jobs"] > known[each.name]
    ]


def _histories(conn: Connection) -> list[str]:
    """Every attempt with the times of its video, as JSON: to look up later why one took so long."""
    of_video = ("id", "prompt", "state", "error_code", "created_at", "completed_at")
    of_attempt = ("n", "upstream", "state", "created_at", "submitted_at", "finished_at", "error")
    columns = [videos.c[name].label(f"video_{name}") for name in of_video] + [
        attempts.c[name] for name in of_attempt
    ]
    query = select(*columns).join_from(videos, attempts, attempts.c.video_id == videos.c.id)
    return [json.dumps(dict(row)) for row in conn.execute(query.order_by(attempts.c.created_at)).mappings()]


def _counts(conn: Connection) -> dict[str, int]:
    """Attempts by how they ended."""
    states = Counter(conn.scalars(select(attempts.c.state)))
    return {f"attempts {state}": count for state, count in sorted(states.items())}


def _live_of(database: Database) -> Any:
    """How many of some videos have not ended; all of them while the database cannot tell."""

    async def live(ids: set[str]) -> int:
        query = select(func.count()).where(videos.c.id.in_(ids), videos.c.state.in_(LIVE))
        with contextlib.suppress(Exception):
            return await database.read(lambda conn: int(conn.scalar(query) or 0))
        return len(ids)

    return live


def report(result: Result, console: Console) -> bool:
    """Print the tables; whether the run was sound."""
    faults = result.faults
    table = Table("fault", "times", "down s, median", "way back s, median", "way back s, max")
    for kind in sorted({mark.kind for mark in faults.marks}):
        marks = [mark for mark in faults.marks if mark.kind == kind]
        back = [mark.back for mark in marks]
        down = median(mark.lifted - mark.begun for mark in marks)
        table.add_row(kind, str(len(marks)), f"{down:.1f}", f"{median(back):.1f}", f"{max(back):.1f}")
    console.print(table)
    counts = Table("count", "number")
    for name, number in {
        **{f"videos {state}": count for state, count in sorted(result.findings.states.items())},
        "failed as submission_unknown": result.findings.unknown,
        **result.counts,
        "kills": faults.kills,
        "stops": sum(mark.kind.startswith("stop ") for mark in faults.marks),
        "kills in submit/store/settle": "/".join(
            str(faults.windows[w]) for w in ("submit", "store", "settle")
        ),
        "load average, median (CPUs)": f"{median(mark.load for mark in faults.marks):.0f} ({os.cpu_count()})",
        "seconds": f"{result.seconds:.0f}",
        "broken invariants": len(result.findings.problems),
    }.items():
        counts.add_row(name, str(number))
    console.print(counts)
    for problem in result.problems[:40]:
        console.print(f"  cluster: {problem}")
    console.print(f"  the timeline is in {OUT / 'chaos-timeline.svg'}")
    return not result.problems


def run_cluster(
    folder: Path, many: int, console: Console, *, only: Collection[str] = ROUND, keep: Path | None = None
) -> list[bool]:
    """Run it with these faults only; whether it was sound. `keep` gets the logs."""
    console.print(f"cluster: {many} videos, 2 API and 4 job processes, 2 workers, everything fails in turn")
    place = folder / "cluster"
    try:
        return [report(asyncio.run(LongRun(place, many, console, only).run()), console)]
    finally:
        if keep is not None:
            shutil.copytree(
                place, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("models", "data-*")
            )
