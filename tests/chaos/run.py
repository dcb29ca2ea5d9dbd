"""`make chaos` and `make chaos-short`: crashes at every statement that moves money, crash runs, and the proof that the
checker can see."""

import argparse
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from providers.testing import FakeUpstream
from tests.chaos import fleet
from tests.chaos.driver import Outcome, Plan, run
from tests.chaos.faults import PLANTED
from tests.chaos.inbox import STORIES
from tests.chaos.inbox import crash as crash_inbox
from tests.chaos.long.faults import ROUND
from tests.chaos.long.run import FULL, run_cluster
from tests.chaos.statements import SCENARIOS, Ruins, fake_upstream
from tests.chaos.statements import crash as crash_settle
from tests.postgres import create_database, postgres

console = Console(width=130)

TRIES = 3


said: list[str] = []
"""What is wrong, said once more at the end, where it is not lost among tables."""


def tell(name: str, problem: str, *, again: bool = True) -> None:
    """Print it now and, unless it was meant to happen, at the end."""
    console.print(f"  {name}: {problem}", soft_wrap=True)
    if again:
        said.append(f"{name}: {problem}")


@contextmanager
def workplace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="onereel-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sqlite_plan(folder: Path, **changes: object) -> Plan:
    """One process: it needs a while after each start before it has anything to store and settle."""
    url = f"sqlite:///{folder / 'data' / 'onereel.db'}"
    return Plan(url, folder, **{"kill_every": (0.6, 3.4), **changes})  # type: ignore[arg-type]


def postgres_plan(server: str, folder: Path, **changes: object) -> Plan:
    url = create_database(server, f"chaos_{uuid.uuid4().hex[:12]}")
    return Plan(url, folder, **{"processes": 3, "stops": 3, **changes})  # type: ignore[arg-type]


def planted_plan(plan: Plan, name: str) -> Plan:
    """A run in which the planted fault has every chance to show."""
    plan.fault = name
    plan.videos, plan.needed, plan.patience, plan.skew = 90, {}, 25.0, 0.0
    plan.kills = 6 if name == "ledger_outside" else 1
    if name == "no_fence":
        # a create in hand is held long enough to be stopped in, and its lease runs out soon
        plan.processes, plan.videos, plan.kills, plan.stops = 3, 60, 3, 3
        plan.lease, plan.renew, plan.hold = 3.0, 0.8, 0.6
    return plan


def sound(outcome: Outcome) -> bool:
    return not outcome.findings.problems and not outcome.void


def settled(outcome: Outcome, *, planted: bool) -> bool:
    """Whether the run decides anything: a void one does not, nor one in which the planted fault never struck."""
    return bool(outcome.findings.problems) or (not planted and not outcome.void)


def run_until_settled(make: Callable[[], Plan], *, planted: bool) -> Outcome:
    """Repeat a run that decided nothing; chance has a say in where a kill falls, and a busy machine in who comes up."""
    for tries_left in reversed(range(TRIES)):
        try:
            outcome = run(make())
        except RuntimeError as error:
            if not tries_left:
                raise
            console.print(f"  it did not come to its end ({error}): once more")
            continue
        if settled(outcome, planted=planted) or not tries_left:
            break
        console.print(
            "  it decided nothing (" + ("; ".join(outcome.void) or "no stale commit") + "): once more"
        )
    return outcome


def report(name: str, outcome: Outcome, table: Table, *, planted: bool) -> bool:
    problems = outcome.findings.problems
    passed = bool(problems) if planted else sound(outcome)
    verdict = ("caught" if passed else "NOT CAUGHT") if planted else ("ok" if passed else "FAIL")
    table.add_row(
        name,
        verdict,
        " ".join(f"{k}:{v}" for k, v in sorted(outcome.findings.states.items())),
        str(outcome.findings.unknown),
        str(outcome.kills),
        "/".join(str(outcome.windows[w]) for w in ("submit", "store", "settle")),
        str(outcome.stops),
        str(outcome.findings.redelivered),
        f"{outcome.seconds:.0f}",
    )
    for problem in problems[:3] if planted else problems[:20]:
        tell(name, problem, again=not planted)
    for window in outcome.void:
        tell(name, f"the run is void, too few kills fell into {window}", again=not planted)
    return passed


def runs(server: str, folder: Path, *, short: bool) -> Iterator[tuple[str, bool, Callable[[], Plan]]]:
    """Name, whether a fault is planted, and how to make the plan (every try gets a database of its own)."""
    for n in range(1 if short else 3):
        yield f"sqlite {n + 1}", False, lambda: sqlite_plan(folder / "sqlite")
        yield f"postgresql {n + 1}", False, lambda: postgres_plan(server, folder / "postgres")
    for fault in PLANTED:
        yield fault, True, partial(planted_run, server, folder, fault)


def planted_run(server: str, folder: Path, fault: str) -> Plan:
    return planted_plan(postgres_plan(server, folder / fault, processes=2, stops=0), fault)


SHORT: Final = {
    "postgresql": {*SCENARIOS, "paid", "refunded before it was paid", "disputed"},
    "sqlite": {"failed", "refunded before it was paid"},
}
"""What the short form runs; "completed" on SQLite is in the default suite."""

Ruined = tuple[str, Callable[[], Ruins]]


def exact_runs(server: str, folder: Path, upstream: FakeUpstream, *, short: bool) -> Iterator[Ruined]:
    """A kill at every place of a transaction: name and how to run it."""
    for database in ("postgresql", "sqlite"):
        short_ones = SHORT[database]
        for name, scenario in SCENARIOS.items():
            if short and name not in short_ones:
                continue
            place, url = exact_place(server, folder, database)
            yield f"settle, {name}, {database}", partial(crash_settle, scenario, url, place, upstream)
        for name, story in STORIES.items():
            if short and name not in short_ones:
                continue
            place, url = exact_place(server, folder, database)
            yield f"inbox, {name}, {database}", partial(crash_inbox, story, url, place)


def exact_place(server: str, folder: Path, database: str) -> tuple[Path, str]:
    """A folder and a database of its own."""
    name = f"exact_{uuid.uuid4().hex[:12]}"
    place = folder / name
    sqlite = f"sqlite:///{place / 'data' / 'onereel.db'}"
    return place, sqlite if database == "sqlite" else create_database(server, name)


def run_exact(server: str, folder: Path, *, short: bool) -> list[bool]:
    """Run them all; whether each was sound."""
    table = Table("one kill at every place", "result", "kills", "s")
    results: list[bool] = []
    with fake_upstream() as upstream:
        for name, crash in exact_runs(server, folder, upstream, short=short):
            console.print(f"{name}: kill -9 between every two statements")
            ruins = crash()
            for problem in ruins.problems[:20]:
                tell(name, problem)
            results.append(not ruins.problems)
            table.add_row(
                name, "FAIL" if ruins.problems else "ok", str(len(ruins.hit)), f"{ruins.seconds:.0f}"
            )
    console.print(table)
    return results


def run_random(server: str, folder: Path, *, short: bool) -> list[bool]:
    """Run them all; whether each was sound, or its planted fault caught."""
    columns = (
        "run",
        "result",
        "videos",
        "unknown",
        "kills",
        "in submit/store/settle",
        "frozen",
        "events twice",
        "s",
    )
    table = Table(*columns)
    results: list[bool] = []
    for name, planted, make in runs(server, folder, short=short):
        console.print(f"planted fault: {name}" if planted else f"{name}: 400 videos, at least 15 kills")
        results.append(report(name, run_until_settled(make, planted=planted), table, planted=planted))
    console.print(table)
    return results


def run_fleet(folder: Path) -> list[bool]:
    """Kill a worker that has a video; whether another made it."""
    console.print("fleet: kill -9 of a worker in the midst of a video")
    found = fleet.problems(folder)
    for problem in found:
        tell("fleet", problem)
    return [not found]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="one run per database instead of three")
    parser.add_argument(
        "--part",
        choices=("random", "exact", "fleet", "cluster"),
        help="only kills at random, exact ones, of a worker, or a whole cluster (not in the short form)",
    )
    parser.add_argument("--videos", type=int, default=FULL, help="of the cluster's run")
    parser.add_argument("--faults", default=",".join(ROUND), help="of the cluster's run, for development")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of the cluster's run")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended in order
    passed = failed = 0
    with workplace() as folder, postgres() as server:
        parts = {
            "exact": lambda: run_exact(server, folder, short=options.short),
            "random": lambda: run_random(server, folder, short=options.short),
            "fleet": lambda: run_fleet(folder),
            "cluster": lambda: run_cluster(
                folder, options.videos, console, only=options.faults.split(","), keep=options.keep
            ),
        }
        for name, part in parts.items():
            if options.part == name or (options.part is None and not (options.short and name == "cluster")):
                results = part()
                passed, failed = passed + sum(results), failed + len(results) - sum(results)
    console.print(f"{passed} passed, {failed} failed")
    for line in said:
        console.print(f"  {line}", soft_wrap=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
