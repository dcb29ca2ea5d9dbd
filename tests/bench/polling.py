"""Polling at scale: how long until we know that an upstream has finished, and what the asking costs."""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.bench.measures import Bench, Figures, create_many
from tests.bench.systems import Onereel
from tests.bench.upstream import pinned, wait_until_answers
from tests.server import Server, free_port, serve_command, upstream_table

ADAPTER_SECONDS: Final = 2.0
"""The least that lies between two polls of a job, where the upstream does not name it itself."""

_DEADLINE: Final = "deadline_seconds = 36000"


@dataclass(frozen=True, slots=True)
class Scale:
    """`videos` live ones shared by `upstreams`, each of which may be polled so often a second."""

    name: str
    videos: int
    upstreams: int
    polls_per_second: float
    poll_after_ms: int | None = None
    ended_each: int = 30
    window: float = 60.0

    @property
    def fair_seconds(self) -> float:
        """The time between two polls of a video that interval and budget ask for."""
        asked = ADAPTER_SECONDS if self.poll_after_ms is None else self.poll_after_ms / 1000
        return max(asked, self.videos / self.upstreams / self.polls_per_second)


SCALES: Final = (
    Scale("10,000 videos", 10_000, 20, 30.0),
    Scale("1,000 videos", 1_000, 1, 250.0, poll_after_ms=5_000, ended_each=300),
)


class Polling(Onereel):
    """`onereel serve` with upstreams that have a poll budget."""

    name = "polling"

    def __init__(self, scale: Scale, port: int, core: str, data_dir: Path) -> None:
        tables = [
            upstream_table(
                f"http://127.0.0.1:{port}/u{n}/v1",
                name=f"u{n}",
                model=f"bench/u{n}",
                max_concurrent=scale.videos,
                extra=_DEADLINE,
            ).replace("max_concurrent", f"polls_per_second = {scale.polls_per_second}\nmax_concurrent")
            for n in range(scale.upstreams)
        ]
        command = [*pinned(core), *serve_command()]
        self.server = Server(config="".join(tables), data_dir=data_dir, command=command)
        self.base_url = self.server.api_url
        self.key = ""

    def query(self, statement: str) -> list[Any]:
        """Read the server's database from outside: asking the server would cost it time."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as conn:
            return conn.execute(statement).fetchall()


def polling(bench: Bench, core: str, scales: tuple[Scale, ...] = SCALES) -> None:
    """Fill a server with live videos, let some end, and look into its database when it knew."""
    for scale in scales:
        port = free_port()
        with _upstreams(scale, port, bench.load_core):
            system = Polling(scale, port, core, bench.folder / scale.name)
            system.start()
            try:
                bench.add(scale.name, system.name, _measured(scale, system, port))
            finally:
                system.stop()


def _measured(scale: Scale, system: Polling, port: int) -> Figures:
    for n in range(scale.upstreams):
        asyncio.run(create_many(system, f"bench/u{n}", scale.videos // scale.upstreams))
    _until(lambda: _live(system) >= scale.videos, 300)
    time.sleep(2 * scale.fair_seconds)  # until every video has its rhythm
    began, cpu, main_cpu = time.time(), system.cpu_seconds(), _main_cpu(system)
    ends = control(port, f"end?each={scale.ended_each}&seconds={scale.window}")
    peak = peak_main = 0.0
    while time.time() < began + scale.window:
        peak = max(peak, sum(each.memory_full_info().pss for each in system.tree()) / 1e6)
        peak_main = max(peak_main, psutil.Process(system.pid).memory_info().rss / 1e6)
        time.sleep(0.5)
    seconds = time.time() - began
    figures = {
        "cores": (system.cpu_seconds() - cpu) / seconds,
        "cores_main": (_main_cpu(system) - main_cpu) / seconds,
        "pss_mb": peak,
        "upstream_late_s": control(port, "late"),
        "load": os.getloadavg()[0],
        "rss_main_mb": peak_main,
    }
    time.sleep(3 * scale.fair_seconds + 5)
    polls = control(port, "polls")
    return figures | _polls(scale, polls, int(began) + 1, int(began + seconds)) | _lags(scale, system, ends)


def _polls(scale: Scale, polls: Mapping[str, Mapping[str, int]], first: int, last: int) -> Figures:
    counts = {name: [each.get(str(s), 0) for s in range(first, last)] for name, each in polls.items()}
    seconds = sorted(count for each in counts.values() for count in each)
    means = [sum(each) / len(each) for each in counts.values()]
    return {
        "polls_per_s": sum(means),
        "budget_used_most": max(means) / scale.polls_per_second,
        "budget_used_least": min(means) / scale.polls_per_second,
        "busy_second_p99": seconds[int(len(seconds) * 0.99)] / scale.polls_per_second,
        "busiest_second": seconds[-1] / scale.polls_per_second,
    }


def _lags(scale: Scale, system: Polling, ends: Mapping[str, int]) -> Figures:
    known = dict(system.query("SELECT json_extract(handle, '$.id'), finished_at FROM attempts"))
    lags: dict[str, list[float]] = {}
    for video_id, end in ends.items():
        late = float("inf") if known[video_id] is None else (known[video_id] - end) / 1000
        lags.setdefault(video_id.split("-")[0], []).append(late)
    every = sorted(lag for each in lags.values() for lag in each)
    return {
        "fair_s": scale.fair_seconds,
        "lag_p50_s": every[len(every) // 2],
        "lag_p95_s": _p95(every),
        "lag_max_s": every[-1],
        "lag_p95_of_slowest_upstream_s": max(_p95(sorted(each)) for each in lags.values()),
    }


def _p95(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def _main_cpu(system: Polling) -> float:
    times = psutil.Process(system.pid).cpu_times()
    return times.user + times.system


def _live(system: Polling) -> int:
    return int(system.query("SELECT count(*) FROM jobs WHERE state = 'running'")[0][0])


def _until(check: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all videos were live after {seconds} s")
        time.sleep(0.5)


def control(port: int, what: str) -> Any:
    """Ask the upstreams something; see `tests.bench.polling_upstream`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/control/{what}", timeout=30) as answer:
        return json.load(answer)


@contextmanager
def _upstreams(scale: Scale, port: int, core: str) -> Iterator[None]:
    after = [] if scale.poll_after_ms is None else [str(scale.poll_after_ms)]
    command = [*pinned(core), sys.executable, "-m", "tests.bench.polling_upstream", str(port), *after]
    process = subprocess.Popen(command)
    try:
        wait_until_answers(f"http://127.0.0.1:{port}/control/polls", timeout=20)
        yield
    finally:
        process.terminate()
        process.wait()
