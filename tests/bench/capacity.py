"""How many machines so many videos a minute need, from what `tests.bench.costs` measured. By hand:

python -m tests.bench.capacity .bench/costs-TIME.json [--reads 10] [--polls 12] [--megabytes 4] [--render 56]

Everything but the costs of one video is multiplication: it says what the measured costs would add up to, not that such an
installation was run.
"""

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.costs import PARTS, STEPS, Costs
from tests.bench.fleet import Figures

RATES: Final = (10, 1_000, 100_000)
BUSY: Final = 0.6
"""How much of a core may be used on average, so that bursts and a lost machine find room."""
_SIZES: Final = (
    (0.0, "end: completed, 0 MB"),
    (4.0, "end: completed, 4 MB"),
    (20.0, "end: completed, 20 MB"),
)
_SUMMED: Final = (*PARTS, "wal_bytes", "kept_bytes")
_COUNTED: Final = ("statements", "syncs")


@dataclass(frozen=True, slots=True)
class Mix:
    """What one video is asked for: status reads by its client, polls of its upstream, its size, seconds of a GPU."""

    reads: float
    polls: float
    megabytes: float
    render: float
    gpu_use: float

    def steps(self) -> dict[str, float]:
        """How often each measured step happens for one video; every other poll tells of progress."""
        low, high = _neighbours(self.megabytes)
        share = (self.megabytes - low[0]) / (high[0] - low[0])
        return {
            "create, one at a time": 1.0,  # many processes find little to put into one transaction
            "status": self.reads,
            "submit": 1.0,
            "poll, nothing new": self.polls / 2,
            "poll, progress moved": self.polls / 2,
            low[1]: 1.0 - share,
            high[1]: share,
            "upkeep": 1.0,
        }


def _neighbours(megabytes: float) -> tuple[tuple[float, str], tuple[float, str]]:
    pairs = list(itertools.pairwise(_SIZES))
    return next((pair for pair in pairs if megabytes <= pair[1][0]), pairs[-1])


def of_one_video(costs: Costs, mix: Mix) -> Figures:
    """Seconds of CPU by part, bytes of WAL and of growth, statements and syncs."""
    total: Figures = {}
    for step, times in mix.steps().items():
        for name in _SUMMED:
            total[name] = total.get(name, 0.0) + times * costs.median(step, name)
        for name in _COUNTED:
            total[name] = total.get(name, 0.0) + times * costs.counted[step].get(name, 0.0)
    return total


def plan(one: Figures, mix: Mix, per_minute: int) -> list[str]:
    """One column of the table."""
    rate = per_minute / 60
    cores = {part: rate * one[part] for part in PARTS}
    gpus = rate * mix.render
    return [
        f"{rate:,.2f}" if rate < 1 else f"{rate:,.0f}",
        _cores(cores["api"]),
        _cores(cores["jobs"] + cores["media"]),
        _cores(cores["postgres"]),
        _cores(cores["redis"]),
        f"{rate * one['statements']:,.0f}",
        f"{rate * one['syncs']:,.0f}",
        f"{rate * one['wal_bytes'] / 1e6:,.2f}",
        f"{rate * one['kept_bytes'] * 86_400 / 1e9:,.1f}",
        f"{rate * mix.megabytes:,.1f}",
        f"{rate * mix.polls:,.0f}",
        f"{math.ceil(gpus / mix.gpu_use):,}",
    ]


ROWS: Final = (
    "videos a second",
    "API cores: used, to have",
    "job cores: used, to have",
    "PostgreSQL cores: used, to have",
    "Redis cores: used, to have",
    "statements a second",
    "syncs a second, at most",
    "WAL, MB/s",
    "database growth, GB a day",
    "written to storage, MB/s",
    "polls of upstreams a second",
    "GPUs, where they are one's own",
)


def _cores(used: float) -> str:
    return f"{used:,.3f}, 1" if used < 0.1 else f"{used:,.1f}, {math.ceil(used / BUSY):,}"


def table(columns: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = ["| videos a minute | " + " | ".join(f"{rate:,}" for rate in RATES) + " |"]
    lines.append("|---" * (len(RATES) + 1) + "|")
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, *cells in zip(ROWS, *columns, strict=True)]
    return "\n".join(lines)


def steps_table(costs: Costs) -> str:
    """The costs themselves, as Markdown."""
    lines = [
        "| | API | jobs | media | PostgreSQL | Redis | all, of the rounds | statements | rows | WAL, kB | syncs |",
        "|---" * 11 + "|",
    ]
    for step in (each for each in STEPS if each in costs.samples):
        counted = costs.counted.get(step, {})
        rows = sum(counted.get(name, 0.0) for name in ("inserted", "updated", "deleted"))
        parts = [f"{costs.median(step, part) * 1000:.2f}" for part in PARTS]
        sums = costs.in_all(step)
        spread = f"{statistics.median(sums):.2f} ({sums[0]:.2f} to {sums[-1]:.2f})"
        rest = [
            f"{counted.get('statements', 0.0):.1f}",
            f"{rows:.1f}",
            f"{costs.median(step, 'wal_bytes') / 1000:.2f}",
        ]
        cells = [step, *parts, spread, *rest, f"{counted.get('syncs', 0.0):.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capacity")
    parser.add_argument("costs", type=Path, help="what tests.bench.costs wrote")
    parser.add_argument("--reads", type=float, default=10)
    parser.add_argument("--polls", type=float, default=12)
    parser.add_argument("--megabytes", type=float, default=4)
    parser.add_argument("--render", type=float, default=56, help="seconds of a GPU")
    parser.add_argument("--gpu-use", type=float, default=0.85)
    options = parser.parse_args()
    found = json.loads(options.costs.read_text())
    costs = Costs(found["samples"], found["counted"])
    mix = Mix(options.reads, options.polls, options.megabytes, options.render, options.gpu_use)
    one = of_one_video(costs, mix)
    print(steps_table(costs))
    print("\nof one video: " + ", ".join(f"{name} {one[name] * 1000:.2f} ms" for name in PARTS))
    print(f"WAL {one['wal_bytes'] / 1000:.1f} kB, growth {one['kept_bytes'] / 1000:.1f} kB\n")
    print(table([plan(one, mix, rate) for rate in RATES]))


if __name__ == "__main__":
    main()
