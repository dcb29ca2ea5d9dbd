"""How accepting videos grows with API processes, on one PostgreSQL that syncs, beside LiteLLM and nginx. By hand:

python -m tests.bench.processes [--processes 1 2 4] [--customers 8] [--rounds 7] [--without litellm]

`onereel serve --roles api --workers N` for each N, all on one database and one Redis, one of them at work at a time; what
they accept stays queued. With `--customers 8` the creates of each N are also shared by so many customers: those of
one customer wait for each other at its balance. Load, PostgreSQL and processes share the machine's cores, so beside the
rates stands what a create costs: CPU times are what a machine with more cores goes by.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.fleet import Fleet
from tests.bench.load import Load, create_body
from tests.bench.measures import Bench
from tests.bench.systems import (
    BELIEVED_SECONDS,
    PLAN,
    LiteLLM,
    Nginx,
    System,
    install_litellm,
    model_of,
    set_terms,
)
from tests.bench.upstream import Mock, find_nginx
from tests.server import ROOT, Server, upstream_table

PEERS: Final = ("LiteLLM", "nginx")
CONNECTIONS: Final = 64
CORES: Final = ",".join(str(each) for each in range(os.cpu_count() or 1))
"""Everything may run everywhere: with several processes there is no core to give the load alone."""
BODY: Final = create_body(model_of("small")) | {"user": "bench"}
_AT_WORK: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""
_QUIET: Final = 3  # looks in a row at which nothing was in a transaction
_SYNCS: Final = 200


class Processes(System):
    """`onereel serve --roles api --workers N` of a fleet, for one customer or several."""

    def __init__(self, fleet: Fleet, workers: int, customers: int = 1) -> None:
        self.name = f"onereel x{workers}" + (f", {customers} customers" if customers > 1 else "")
        self.workers = workers
        self.customers = customers
        self._fleet = fleet
        self._server = f"api x{workers}"
        self._keys: Sequence[str] = ()

    def start(self) -> float:
        """Start all of them; whoever has the same number of processes shares them."""
        began = time.monotonic()
        if self._server not in self._fleet:
            self._fleet.start_api(self.workers, self._server)
        self.base_url = self.server.api_url
        return time.monotonic() - began

    def stop(self) -> None:
        """End them."""
        if self._server in self._fleet:
            self._fleet.stop(self._server)

    @property
    def server(self) -> Server:
        """What listens."""
        return self._fleet[self._server]

    @property
    def pid(self) -> int:
        """The supervisor's, or that of the only process."""
        return self.server.pid

    @property
    def keys(self) -> Sequence[str]:
        """One of each customer."""
        return self._keys

    def use(self, keys: Sequence[str]) -> None:
        """Whose videos it gets."""
        self.key, self._keys = keys[0], keys[: self.customers]


def customers(server: Server, count: int) -> list[str]:
    """Keys of so many organizations that pay: the default one and new ones."""
    keys = [server.make_key()]
    set_terms(server)
    for number in range(1, count):
        made = server.call("POST", "/v1/organizations", {"name": f"customer {number}"})
        project = made["default_project_id"]
        path = f"/v1/organization/projects/{project}/api_keys"
        keys.append(server.call("POST", path, {"name": "bench"}, project=project)["value"])
        set_terms(server, made["id"], project)
    time.sleep(BELIEVED_SECONDS)
    return keys


@dataclass(frozen=True, slots=True)
class Race:
    """All systems up, one of them at work. The others are not stopped: within a transaction that would keep locks."""

    bench: Bench
    fleet: Fleet
    systems: Sequence[System]

    def run(self) -> None:
        """Creates at 64 connections and at 1, round after round."""
        for each in self.systems:
            self._load(each, CONNECTIONS, "warm")
        for number in range(self.bench.rounds):
            print(f"... round {number + 1} (load {os.getloadavg()[0]:.1f})", flush=True)
            for connections in (CONNECTIONS, 1):
                for each in self.systems:
                    self._load(each, connections, f"create c{connections}")

    def _load(self, system: System, connections: int, measured: str) -> None:
        before = self.fleet.counters()
        self.bench.load(measured, system, Load("POST", "/videos", BODY, connections, self.bench.seconds))
        after = self.fleet.counters()
        self._rest()
        if isinstance(system, Processes):
            sample = self.bench.samples[measured][system.name][-1]
            done = sample["rate"] * sample["seconds"]
            for part in ("postgres", "redis"):
                sample[f"{part}_us"] = (after[part] - before[part]) * 1e6 / done
            sample["wal_kb"] = (after["wal_bytes"] - before["wal_bytes"]) / 1000 / done

    def _rest(self) -> None:
        """Until what the load has left is done."""
        deadline = time.monotonic() + 30
        quiet = 0
        while quiet < _QUIET and time.monotonic() < deadline:
            time.sleep(0.1)
            quiet = 0 if self.fleet.look.value(_AT_WORK) else quiet + 1


def table(bench: Bench) -> str:
    """Medians over the rounds, the spread of the rates, and the medians of the rounds' own ratios."""
    lines = []
    for measured in (f"create c{CONNECTIONS}", "create c1"):
        samples = bench.samples[measured]
        first = next(iter(samples))
        heads = ("a second", "from", "to", "p50 ms", "p99 ms", "API us", "PostgreSQL us", "WAL kB")
        peers = [each for each in (first, *PEERS) if each in samples]
        head = "".join(f"{each:>15}" for each in (*heads, *(f"/ {peer}" for peer in peers)))
        lines.append(f"{measured:28}{head}")
        for name in samples:
            cells = [*_cells(bench, measured, name)]
            cells += [f"{bench.ratio(measured, 'rate', name, peer):.2f}" for peer in peers]
            lines.append(f"{name:28}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines)


def _cells(bench: Bench, measured: str, name: str) -> Iterator[str]:
    rates = [each["rate"] for each in bench.samples[measured][name]]
    for value in (statistics.median(rates), min(rates), max(rates)):
        yield f"{value:.0f}"
    for figure in ("p50", "p99", "cpu_us", "postgres_us", "wal_kb"):
        known = figure in bench.samples[measured][name][-1]
        yield f"{bench.median(measured, name, figure):.1f}" if known else "-"


def sync_ms(folder: Path) -> float:
    """What it takes to have 8 kB on this disk, the median of many."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(b"x" * 8192)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    """Measure, print the table, write .bench/processes-<time>.json."""
    options = _options()
    if os.geteuid() == 0:
        os.nice(-15)  # with all that it starts: ahead of what else runs here, as the other measures are
    if "litellm" not in options.without:
        install_litellm()
    out = ROOT / ".bench"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=out) as name, ExitStack() as stack:
        folder = Path(name)
        mock = stack.enter_context(Mock(folder / "mock", CORES))
        config = PLAN + upstream_table(mock.url("small"), name="u0", model=model_of("small"))
        fleet = stack.enter_context(Fleet(config))
        bench = Bench(folder, CORES, options.seconds, options.rounds)
        systems: list[System] = [Processes(fleet, each) for each in options.processes]
        if options.customers > 1:
            systems += [Processes(fleet, each, options.customers) for each in options.processes]
        if "litellm" not in options.without:
            systems.append(LiteLLM(mock, CORES, folder / "litellm"))
        if find_nginx() and "nginx" not in options.without:
            systems.append(Nginx(mock, CORES, folder / "floor"))
        _start(stack, systems, options.customers)
        Race(bench, fleet, systems).run()
        machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "sync_ms": sync_ms(folder)}
    print(table(bench))
    print(f"8 kB on the disk take {machine['sync_ms']:.2f} ms; load of the machine {machine['load']:.1f}")
    path = out / f"processes-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"machine": machine, "samples": bench.samples}, indent=1))
    print(f"written to {path.relative_to(ROOT)}")


def _start(stack: ExitStack, systems: Sequence[System], count: int) -> None:
    keys: list[str] = []
    for each in systems:
        each.start()
        stack.callback(each.stop)
        if isinstance(each, Processes):
            keys = keys or customers(each.server, count)
            each.use(keys)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.processes")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--customers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--without", nargs="+", choices=("litellm", "nginx"), default=())
    return parser.parse_args()


if __name__ == "__main__":
    main()
