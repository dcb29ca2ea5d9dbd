"""What one video costs: CPU by process, statements, rows and WAL of each step, on PostgreSQL that syncs. By hand:

python -m tests.bench.costs [--videos 400] [--rounds 3]

The API and the jobs are processes of their own; the upstreams and the load are others, and not counted. Each round takes
400 videos through their steps one step at a time: the process that is not measured stands still, or has nothing due.
A last round counts statements, rows and syncs, which takes the server's log and would disturb the CPU times.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.bench.fleet import Figures, Fleet, stopped
from tests.bench.load import create_body
from tests.bench.polling import control
from tests.bench.systems import BELIEVED_SECONDS, PLAN, set_terms
from tests.bench.upstream import wait_until_answers
from tests.postgres import execute
from tests.server import ROOT, free_port, upstream_table

PARTS: Final = ("api", "jobs", "media", "postgres", "redis")
IDLE: Final = "idle, a second"
STEPS: Final = (
    "create",
    "create, one at a time",
    "status",
    "list of 20",
    "submit",
    "poll, nothing new",
    "poll, progress moved",
    "end: failed, released",
    "end: completed, 0 MB",
    "end: completed, 4 MB",
    "end: completed, 4 MB, signed",
    "end: completed, 20 MB",
    "content, 4 MB",
    "upkeep",
    IDLE,
)
ENDS: Final[dict[str, tuple[int, bool, bool]]] = {
    "end: failed, released": (0, True, False),
    "end: completed, 0 MB": (0, False, False),
    "end: completed, 4 MB": (4_000_000, False, False),
    "end: completed, 20 MB": (20_000_000, False, False),
    "end: completed, 4 MB, signed": (4_000_000, False, True),
}
"""How a batch of videos ends: bytes of the file, whether the upstream failed, whether the file is signed."""

MODEL: Final = "bench/u0"
BODY: Final = create_body(MODEL) | {"user": "bench"}
_FLUSH_SECONDS: Final = 11.0  # so late PostgreSQL's processes may tell what they did
_POLL_MS: Final = 1_000
_BEFORE_POLLS_MS: Final = 12_000
_POLLED_SECONDS: Final = 10.0
_STATEMENT: Final = re.compile(rb"\[(\d+)\] LOG:  (?:execute [^:]+|statement): *(\w+)")
_AROUND: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "START", "DEALLOCATE"})


@dataclass
class Costs:
    """Every sample: by step, figures for one of what the step is about (a create, a poll, a video that ended)."""

    samples: dict[str, list[Figures]] = field(default_factory=dict)
    counted: dict[str, Figures] = field(default_factory=dict)

    def median(self, step: str, name: str) -> float:
        """Over the rounds; of CPU what is above that of the idle processes in the same time."""
        return statistics.median(self.net(step, each, name) for each in self.samples[step])

    def net(self, step: str, sample: Figures, name: str) -> float:
        """One sample, see `median`."""
        if step == IDLE or name not in PARTS:
            return sample.get(name, 0.0)
        idle = statistics.median(each.get(name, 0.0) for each in self.samples[IDLE])
        return max(0.0, sample.get(name, 0.0) - idle * sample.get("seconds", 0.0))

    def in_all(self, step: str) -> list[float]:
        """CPU of all parts, in milliseconds, from the least to the most."""
        return sorted(sum(self.net(step, each, part) for part in PARTS) * 1000 for each in self.samples[step])


@dataclass
class Rig:
    """One fleet with its upstreams, and what it has learnt."""

    fleet: Fleet
    port: int
    videos: int
    costs: Costs
    counting: bool
    key: str = ""

    @contextlib.contextmanager
    def step(self, name: str, count: Callable[[], float]) -> Iterator[None]:
        """Measure the block; `count` tells how many there were so far, before and after."""
        log, look = self.fleet.log, self.fleet.look
        sums, counted_before = look.sums(), count()
        before = self.fleet.counters()
        logged, before_count, began = log.stat().st_size, count(), time.monotonic()
        yield
        after, done = self.fleet.counters(), count() - before_count
        figures = {key: (after[key] - before.get(key, 0.0)) / done for key in after}
        figures |= {"count": done, "seconds": (time.monotonic() - began) / done}
        if name in self.costs.counted:
            return
        if not self.counting:
            self.costs.samples.setdefault(name, []).append(figures)
            return
        figures |= {key: value / done for key, value in _statements(log, logged, look.pid).items()}
        time.sleep(_FLUSH_SECONDS)
        counted = count() - counted_before
        figures |= {key: (value - sums[key]) / counted for key, value in look.sums().items()}
        self.costs.counted[name] = figures

    def set(self, **asked: Any) -> None:
        """Tell the upstreams how to behave."""
        control(self.port, "set?" + "&".join(f"{name}={value}" for name, value in asked.items()))

    def total(self, what: str) -> float:
        """What the upstreams have counted."""
        return float(control(self.port, "totals").get(what, 0))

    def jobs(self, state: str) -> int:
        """Videos that have a job in this state."""
        return int(self.fleet.look.value(f"SELECT count(*) FROM jobs WHERE state = '{state}'"))

    def ended(self) -> float:
        """Videos that have ended."""
        return float(self.fleet.look.value("SELECT count(*) FROM videos WHERE completed_at IS NOT NULL"))

    def ask(self, method: str, paths: Sequence[str], connections: int, body: Any = None) -> list[Any]:
        """Send requests, so many at a time; answers what came back."""
        return asyncio.run(_ask(self.fleet["api"].api_url, self.key, (method, body), paths, connections))


def _statements(log: Path, start: int, own: int) -> Figures:
    """What was carried out since, without what we ourselves asked."""
    with log.open("rb") as file:
        file.seek(start)
        found = _STATEMENT.findall(file.read())
    words = [word.decode().upper() for pid, word in found if int(pid) != own]
    around = sum(word in _AROUND for word in words)
    return {"statements": len(words) - around, "around": around, "commits": words.count("COMMIT")}


async def _ask(
    url: str, key: str, asked: tuple[str, Any], paths: Sequence[str], connections: int
) -> list[Any]:
    left, answers = iter(paths), []
    method, body = asked
    headers = {"Authorization": f"Bearer {key}"}

    async def client(session: aiohttp.ClientSession) -> None:
        for path in left:
            async with session.request(method, url + path, json=body) as answer:
                is_json = answer.content_type == "application/json"
                answers.append(await answer.json() if is_json else len(await answer.read()))
                if answer.status != 200:
                    raise RuntimeError(f"{method} {path}: {answers[-1]}")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:
        await asyncio.gather(*(client(session) for _ in range(connections)))
    return answers


def _round(rig: Rig, ends: Sequence[str]) -> None:
    """Everything that is measured with one fleet; the job process starts anew where a batch is to be signed."""
    fleet = rig.fleet
    fleet.start_api()
    fleet.start_jobs()
    rig.key = fleet["api"].make_key()
    set_terms(fleet["api"])
    time.sleep(BELIEVED_SECONDS)
    rig.set(poll_after_ms=500)
    _warm(rig)
    _reads(rig)
    _idle(rig)
    for end in ends:
        if ENDS[end][2]:
            fleet.stop("jobs")
            fleet.start_jobs({"ONEREEL_PROVENANCE__C2PA": "all"})
        _life(rig, end)
    done = 0.0
    with rig.step("upkeep", lambda: done):
        for statement in ("CHECKPOINT", "VACUUM ANALYZE"):
            execute(fleet.url, statement)
        done = rig.ended()


def _warm(rig: Rig) -> None:
    """A few videos all the way, so that connections, statements and media workers are there."""
    rig.ask("POST", ["/videos"] * 20, 8, BODY)
    _until(lambda: rig.jobs("running") == 20)
    control(rig.port, "end?each=20&seconds=0")
    _until(lambda: rig.ended() == 20)


def _create(rig: Rig, step: str, connections: int, videos: int) -> None:
    made = 0
    with rig.step(step, lambda: float(made)):
        made = len(rig.ask("POST", ["/videos"] * videos, connections, BODY))


def _reads(rig: Rig) -> None:
    video = rig.ask("GET", ["/videos?limit=1"], 1)[0]["data"][0]
    for step, path, times in (("status", f"/videos/{video['id']}", 4), ("list of 20", "/videos?limit=20", 1)):
        asked = 0
        with rig.step(step, lambda: float(asked)):  # noqa: B023  (called within this turn)
            asked = len(rig.ask("GET", [path] * (rig.videos * times), 32))


def _idle(rig: Rig) -> None:
    began = time.monotonic()
    with rig.step(IDLE, lambda: time.monotonic() - began):
        time.sleep(_POLLED_SECONDS)


def _life(rig: Rig, end: str) -> None:
    """One batch of videos, a step at a time."""
    size, failed, _ = ENDS[end]
    few = rig.videos // 4
    with stopped(rig.fleet["jobs"]):
        _create(rig, "create, one at a time", 1, few)
        _create(rig, "create", 32, rig.videos - few)
        rig.set(poll_after_ms=_BEFORE_POLLS_MS, moving=0, bytes=size)
    running = rig.jobs("running") + rig.videos
    with rig.step("submit", lambda: rig.total("created")):
        _until(lambda: rig.jobs("running") >= running)
    rig.set(poll_after_ms=_POLL_MS)
    time.sleep(_BEFORE_POLLS_MS / 1000 * 1.2)
    for step, moving in (("poll, nothing new", 0), ("poll, progress moved", 1)):
        rig.set(moving=moving)
        with rig.step(step, lambda: rig.total("polls")):
            time.sleep(_POLLED_SECONDS)
    _end(rig, end, failed=failed)
    if end == "end: completed, 4 MB":
        _contents(rig)


def _contents(rig: Rig) -> None:
    """The file, through the API process."""
    ids = [each["id"] for each in rig.ask("GET", ["/videos?limit=100"], 1)[0]["data"]]
    fetched = 0
    with rig.step("content, 4 MB", lambda: float(fetched)):
        fetched = len(rig.ask("GET", [f"/videos/{each}/content" for each in ids[: rig.videos]], 16))


def _end(rig: Rig, end: str, *, failed: bool) -> None:
    target = rig.ended() + rig.videos
    with rig.step(end, rig.ended):
        control(rig.port, f"end?each={rig.videos}&seconds=0" + ("&failed=1" if failed else ""))
        _until(lambda: rig.ended() >= target)


def _until(check: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s")
        time.sleep(0.2)


def table(costs: Costs) -> str:
    """CPU in milliseconds and WAL in kB, medians of the rounds; the rest is of the round that counted."""
    heads = [*PARTS, "CPU in all", "spread", "WAL kB", "statements", "commits", "rows", "syncs"]
    lines = [f"{'of one':30}" + "".join(f"{head:>13}" for head in heads)]
    for step in STEPS:
        if step in costs.samples:
            cells = [f"{costs.median(step, part) * 1000:.3f}" for part in PARTS]
            sums = costs.in_all(step)
            cells += [f"{statistics.median(sums):.3f}", f"{sums[0]:.2f}-{sums[-1]:.2f}"]
            cells += [f"{costs.median(step, 'wal_bytes') / 1000:.2f}"]
            cells += _counted(costs.counted.get(step, {}))
            lines.append(f"{step:30}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)


def _counted(figures: Figures) -> list[str]:
    rows = sum(figures.get(name, 0.0) for name in ("inserted", "updated", "deleted"))
    return [
        f"{value:.2f}"
        for value in (figures.get("statements", 0), figures.get("commits", 0), rows, figures.get("syncs", 0))
    ]


def main() -> None:
    """Measure, print the table, write .bench/costs-<time>.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.costs")
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ends", nargs="+", choices=list(ENDS), default=list(ENDS))
    options = parser.parse_args()
    costs = Costs()
    for turn in range(options.rounds + 1):
        counting = turn == options.rounds
        print(
            f"... {'counts' if counting else f'round {turn + 1}'} (load {os.getloadavg()[0]:.1f})", flush=True
        )
        with _rig(options.videos, costs, counting=counting) as rig:
            _round(rig, options.ends)
        print(table(costs), flush=True)
    out = ROOT / ".bench"
    out.mkdir(exist_ok=True)
    path = out / f"costs-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"samples": costs.samples, "counted": costs.counted}, indent=1))
    print(f"\nwritten to {path.relative_to(ROOT)}")


@contextlib.contextmanager
def _rig(videos: int, costs: Costs, *, counting: bool) -> Iterator[Rig]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/u0/v1"
    config = PLAN + upstream_table(url, name="u0", model=MODEL, max_concurrent=100_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.polling_upstream", str(port), str(_POLL_MS)]
    )
    try:
        wait_until_answers(f"http://127.0.0.1:{port}/control/polls", timeout=30)
        with Fleet(config) as fleet:
            if counting:
                fleet.tell_postgres("log_statement", "'all'")
            yield Rig(fleet, port, videos, costs, counting)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
