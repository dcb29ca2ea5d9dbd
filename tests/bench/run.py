"""`make bench`: ratios against LiteLLM's proxy and an nginx floor, all in one run. By hand, nothing is asserted.

Core 1 runs the system under test, core 0 the load and the mock upstream. Absolute figures are this machine's of
this hour; only ratios of one run say anything.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.bench import measures, report
from tests.bench.measures import Bench
from tests.bench.polling import polling
from tests.bench.systems import LiteLLM, Nginx, Onereel, Paying, System, install_litellm
from tests.bench.upstream import Mock, find_nginx
from tests.server import ROOT

PHASES: Final = ("start", "requests", "content", "whole", "drain", "money", "polling")
OUT: Final = ROOT / ".bench"


def main() -> None:
    """Measure, print the table, write .bench/<time>.json."""
    options = _options()
    load_core, core = ("0", "1") if (os.cpu_count() or 1) > 1 else ("0", "0")
    if "litellm" not in options.without and set(options.only) != {"polling"}:
        install_litellm()
    if not find_nginx():
        print("nginx is not installed: its rows are skipped (Debian: apt-get install nginx)")
    if not shutil.which("wrk"):
        print(
            "wrk is not installed: a loop of our own sends the load, and is slower (Debian: apt-get install wrk)"
        )
    OUT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=OUT) as name,
        Mock(Path(name, "mock"), load_core) as mock,
    ):
        folder = Path(name)
        bench = Bench(folder, load_core, options.seconds, options.rounds)
        systems = _systems(mock, core, folder, options.without)
        _measure(bench, mock, core, systems, options.only)
        if "money" in options.only:
            _say("create with money")
            _money(bench, mock, core, systems, options.foundation)
        if "polling" in options.only:
            _say("polling")
            polling(bench, core)
    path = OUT / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"machine": _machine(), "samples": bench.samples}, indent=1))
    print(report.table(bench))
    print(f"\nwritten to {path.relative_to(ROOT)}")


def _measure(bench: Bench, mock: Mock, core: str, systems: Sequence[System], phases: Sequence[str]) -> None:
    peers = [each for each in systems if not isinstance(each, Nginx)]
    if "start" in phases:
        _say("start and idle memory")
        measures.start_and_memory(bench, peers)
    if {"requests", "content", "whole"} & set(phases):
        with _started(systems):
            if "requests" in phases:
                _say("create and status")
                measures.requests(bench, systems)
            if "content" in phases:
                _say("content")
                measures.content(bench, peers)
            if "whole" in phases:
                _say("the whole way")
                measures.whole_way(bench, peers)
    if "drain" in phases:
        _say("create while jobs drain")
        _drain(bench, mock, core)


def _money(bench: Bench, mock: Mock, core: str, systems: Sequence[System], foundation: Path | None) -> None:
    plain = {} if foundation is None else {"PYTHONPATH": str(foundation.resolve())}
    asked: list[System] = [
        Onereel(mock, core, bench.folder / "plain", plain),
        Paying(mock, core, bench.folder / "paying"),
        *(each for each in systems if isinstance(each, LiteLLM)),
    ]
    with _started(asked):
        measures.money(bench, asked)


def _drain(bench: Bench, mock: Mock, core: str) -> None:
    idle = Onereel(mock, core, bench.folder / "idle")
    full = Onereel(mock, core, bench.folder / "busy", {"ONEREEL_ROLES": '["api"]'})
    with _started([full]):
        measures.fill(full, measures.DRAINING)
    busy = Onereel(mock, core, bench.folder / "busy")
    with _started([idle, busy]):
        measures.draining(bench, idle, busy)


def _systems(mock: Mock, core: str, folder: Path, without: Sequence[str]) -> list[System]:
    systems: list[System] = [Onereel(mock, core, folder / "onereel")]
    if "litellm" not in without:
        systems.append(LiteLLM(mock, core, folder / "litellm"))
    if find_nginx() and "nginx" not in without:
        systems.append(Nginx(mock, core, folder / "floor"))
    return systems


@contextmanager
def _started(systems: Sequence[System]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in systems:
            stack.callback(each.stop)
            each.start()
        yield


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run")
    parser.add_argument("--only", nargs="+", choices=PHASES, default=PHASES)
    parser.add_argument("--without", nargs="+", choices=("litellm", "nginx"), default=())
    parser.add_argument(
        "--foundation", type=Path, help="a checkout whose server is the plain one of the phase money"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser.parse_args()


def _machine() -> dict[str, str | int | None]:
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "wrk": shutil.which("wrk"),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip(),
    }


def _say(what: str) -> None:
    print(f"... {what} (load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    main()
