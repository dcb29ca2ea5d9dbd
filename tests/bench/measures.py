"""The measures. Each asks all systems in turn, round after round, so that noise falls on all of them alike."""

import asyncio
import contextlib
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.bench.load import Load, create_body, run
from tests.bench.systems import PARKED, Onereel, System, model_of

Figures = dict[str, float]
"""Name of a figure to its value."""

DRAINING: Final = 10_000
DOWNLOADS: Final = 20
_LONG_SECONDS: Final = 15.0
_SETTLE_SECONDS: Final = 1.0  # a server that was stopped first catches up with its own past
_WHOLE_WAY: Final = 64  # videos per round


@dataclass
class Bench:
    """One run: where it may write, which core sends the load, how long and how often."""

    folder: Path
    load_core: str
    seconds: float
    rounds: int
    samples: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)

    def add(self, measure: str, system: str, figures: Figures) -> None:
        """Keep one sample."""
        self.samples.setdefault(measure, {}).setdefault(system, []).append(figures)

    def median(self, measure: str, system: str, figure: str) -> float:
        """The median over the rounds."""
        return statistics.median(each[figure] for each in self.samples[measure][system])

    def ratio(self, measure: str, figure: str, system: str, peer: str) -> float:
        """The median of the rounds' own ratios."""
        pairs = zip(self.samples[measure][system], self.samples[measure][peer], strict=False)
        return statistics.median(ours[figure] / theirs[figure] for ours, theirs in pairs)

    def load(self, measure: str, system: System, load: Load) -> None:
        """Load a system and keep the result."""
        result = run(system, load, self.folder, self.load_core)
        figures = {"rate": result.rate, "p50": result.p50, "p99": result.p99, "cpu_us": result.cpu_us}
        self.add(measure, system.name, figures | {"mb": result.mb_per_second, "seconds": result.seconds})


def requests(bench: Bench, systems: Sequence[System], clip: str = "small") -> None:
    """Create at 32 connections and at 1, status at 32."""
    ids = {each.name: _create(each, _model(each, clip)) for each in systems}
    for each in systems:  # LiteLLM is four times slower in its first seconds
        run(each, Load("POST", "/videos", create_body(_model(each, clip))), bench.folder, bench.load_core)
    for _ in range(bench.rounds):
        for connections in (32, 1):
            for each in systems:
                body = create_body(_model(each, clip))
                load = Load("POST", "/videos", body, connections, bench.seconds)
                bench.load(f"create c{connections}", each, load)
        for each in systems:
            bench.load("status c32", each, Load("GET", f"/videos/{ids[each.name]}", None, 32, bench.seconds))


def content(bench: Bench, systems: Sequence[System]) -> None:
    """20 clients, 20 MiB each, over and over; and how much memory that takes beside the idle one."""
    ids = {}
    for each in systems:
        ids[each.name] = _create(each, model_of("large"))
        if isinstance(each, Onereel):
            _wait_completed(each, ids[each.name])
    for _ in range(bench.rounds):
        for each in systems:
            idle = each.rss_mb()
            path = f"/videos/{ids[each.name]}/content"
            # LiteLLM reads a whole file before it sends a byte: a short window would see nothing of it
            seconds = bench.seconds if isinstance(each, Onereel) else _LONG_SECONDS
            with _peak(each) as peak:
                bench.load("content", each, Load("GET", path, None, DOWNLOADS, seconds))
            bench.samples["content"][each.name][-1]["growth_mb"] = peak() - idle


def whole_way(bench: Bench, systems: Sequence[System]) -> None:
    """Videos per second from create to the bytes: in our storage and captured, or in LiteLLM's client's hands."""
    for _ in range(bench.rounds):
        for each in systems:
            count = _WHOLE_WAY * 4 if isinstance(each, Onereel) else _WHOLE_WAY
            before, started = each.cpu_seconds(), time.perf_counter()
            if isinstance(each, Onereel):
                done = _completed(each)
                asyncio.run(create_many(each, model_of("mega"), count))
                while _completed(each) < done + count:
                    time.sleep(0.02)
            else:
                asyncio.run(_to_the_bytes(each, model_of("mega"), count))
            seconds = time.perf_counter() - started
            cpu = (each.cpu_seconds() - before) / count
            bench.add(
                "whole way", each.name, {"rate": count / seconds, "cpu_us": cpu * 1e6, "seconds": seconds}
            )


def draining(bench: Bench, idle: Onereel, busy: Onereel) -> None:
    """Create while 10,000 jobs drain, against a twin that has nothing to do. One of the two is always stopped."""
    body = create_body(PARKED)
    for connections in (32, 1):
        load = Load("POST", "/videos", body, connections, bench.seconds)
        before_it = Load("POST", "/videos", body, connections, _SETTLE_SECONDS)
        for _ in range(bench.rounds):
            with busy.paused():
                run(idle, before_it, bench.folder, bench.load_core)
                bench.load(f"idle c{connections}", idle, load)
            with idle.paused():
                run(busy, before_it, bench.folder, bench.load_core)
                before, started = _completed(busy), time.monotonic()
                bench.load(f"draining c{connections}", busy, load)
                drained = (_completed(busy) - before) / (time.monotonic() - started)
                bench.samples[f"draining c{connections}"][busy.name][-1]["drained_per_s"] = drained


def money(bench: Bench, systems: Sequence[System]) -> None:
    """Create at 32 connections and at 1: with every check that money asks for, and without.

    One at a time, the others stopped: each goes on for seconds with the jobs that its load has left.
    """
    for each in systems:
        run(each, Load("POST", "/videos", _named(each)), bench.folder, bench.load_core)
    for _ in range(bench.rounds):
        for connections in (32, 1):
            for each in systems:
                load = Load("POST", "/videos", _named(each), connections, bench.seconds)
                with ExitStack() as stack:
                    for other in systems:
                        if other is not each:
                            stack.enter_context(other.paused())
                    bench.load(f"money c{connections}", each, load)


def _named(system: System) -> Any:
    return create_body(_model(system, "small")) | {"user": "bench"}


def fill(system: Onereel, count: int) -> None:
    """Queue jobs on a server that runs none."""
    asyncio.run(create_many(system, model_of("small"), count))


def start_and_memory(bench: Bench, systems: Sequence[System]) -> None:
    """Time to the first answer and memory a moment later, of each system alone."""
    for _ in range(bench.rounds):
        for each in systems:
            took = each.start()
            time.sleep(1.5)
            bench.add("start", each.name, {"seconds": took, "idle_mb": each.rss_mb()})
            each.stop()


def _model(system: System, clip: str) -> str:
    return PARKED if isinstance(system, Onereel) else model_of(clip)


def _create(system: System, model: str) -> str:
    async def once() -> str:
        async with _session(system) as session:
            return await _post(session, system, model)

    return asyncio.run(once())


def _session(system: System) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {system.key}", "Accept-Encoding": "identity"}
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers)


async def _post(session: aiohttp.ClientSession, system: System, model: str) -> str:
    async with session.post(f"{system.base_url}/videos", json=create_body(model)) as answer:
        video: dict[str, Any] = await answer.json()
        if answer.status != 200:
            raise RuntimeError(f"{system.name} refused a create: {video}")
        return str(video["id"])


async def create_many(system: System, model: str, count: int) -> None:
    """Create so many videos, 32 at a time."""
    async with _session(system) as session:
        await _spread(count, lambda: _post(session, system, model))


async def _to_the_bytes(system: System, model: str, count: int) -> None:
    async with _session(system) as session:

        async def one() -> None:
            video_id = await _post(session, system, model)
            async with session.get(f"{system.base_url}/videos/{video_id}") as answer:
                if (await answer.json())["status"] != "completed":
                    raise RuntimeError(f"{system.name} has an unfinished video")
            async with session.get(f"{system.base_url}/videos/{video_id}/content") as answer:
                if len(await answer.read()) < 1_000_000:
                    raise RuntimeError(f"{system.name} sent no video")

        await _spread(count, one)


async def _spread(count: int, action: Callable[[], Any], width: int = 32) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await action()

    await asyncio.gather(*(client() for _ in range(width)))


def _completed(system: Onereel) -> int:
    """Read the server's database from outside: asking the server would cost it time."""
    with contextlib.closing(sqlite3.connect(f"file:{system.database}?mode=ro", uri=True)) as conn:
        query = "SELECT count(*) FROM videos WHERE state = 'completed' AND cost_status = 'captured'"
        return int(conn.execute(query).fetchone()[0])


def _wait_completed(system: Onereel, video_id: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if system.server.call("GET", f"/v1/videos/{video_id}", key=system.key)["status"] == "completed":
            return
        time.sleep(0.1)
    raise TimeoutError(f"{video_id} was not completed in {seconds} s")


@contextmanager
def _peak(system: System) -> Iterator[Callable[[], float]]:
    """Watch a system's memory; the block's value gives the most it had, in MB."""
    most, over = [system.rss_mb()], threading.Event()

    def watch() -> None:
        while not over.wait(0.03):
            most.append(system.rss_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(most)
    finally:
        over.set()
        thread.join()
