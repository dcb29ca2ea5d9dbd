"""`make chaos` and `make chaos-short`: crash runs on both databases, and the proof that the checker can see."""

import argparse
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.driver import Outcome, Plan, run
from tests.chaos.faults import PLANTED
from tests.postgres import create_database, postgres

console = Console()


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
        # frozen long enough for the other process to finish what the frozen one has in hand
        plan.kills, plan.stops, plan.lease, plan.renew, plan.freeze = 4, 4, 1.5, 0.5, 8.0
        plan.kill_every = (3.0, 5.0)
    return plan


def report(name: str, outcome: Outcome, table: Table, *, planted: bool) -> bool:
    problems = outcome.findings.problems
    passed = bool(problems) if planted else not problems and not outcome.void
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
        console.print(f"  {name}: {problem}")
    for window in outcome.void:
        console.print(f"  {name}: the run is void, too few kills fell into {window}")
    return passed


def plans(server: str, folder: Path, *, short: bool) -> Iterator[tuple[str, Plan]]:
    for n in range(1 if short else 3):
        yield f"sqlite {n + 1}", sqlite_plan(folder / f"sqlite{n}")
        yield f"postgresql {n + 1}", postgres_plan(server, folder / f"postgres{n}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="one run per database instead of three")
    options = parser.parse_args()
    table = Table(
        "run", "result", "videos", "unknown", "kills", "in submit/store/settle", "frozen", "events twice", "s"
    )
    passed = failed = 0
    with workplace() as folder, postgres() as server:
        for name, plan in plans(server, folder, short=options.short):
            console.print(f"{name}: {plan.videos} videos, {plan.kills} kills, {plan.processes} processes")
            good = report(name, run(plan), table, planted=False)
            passed, failed = passed + good, failed + (not good)
        for fault in PLANTED:
            plan = planted_plan(postgres_plan(server, folder / fault, processes=2, stops=0), fault)
            console.print(f"planted fault: {fault}")
            good = report(fault, run(plan), table, planted=True)
            passed, failed = passed + good, failed + (not good)
    console.print(table)
    console.print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
