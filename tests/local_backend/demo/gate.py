"""`make gate`: does the shipped demo model show what its prompts say? Exit status 1 where it falls short.

All 100 scenes that training never saw, each with several seeds, judged from their pixels.
"""

import sys

import torch
from rich.progress import track

from local_backend.demo.evaluation import accuracy
from local_backend.demo.pipeline import DemoPipeline
from local_backend.demo.world import held_out

PASS = 0.9
SEEDS = (101, 202, 303)


def main() -> None:
    """Print shares right by seed and in the mean."""
    torch.set_num_threads(2)
    pipeline = DemoPipeline.from_pretrained()
    rows = [accuracy(pipeline, seed) for seed in track(SEEDS, f"{len(held_out())} prompts a seed")]
    print("seed       " + "".join(f"{name:>12}" for name in rows[0]))
    for seed, row in zip(SEEDS, rows, strict=True):
        print(f"{seed:<11}" + "".join(f"{share:>12.2f}" for share in row.values()))
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    print(f"{'mean':<11}" + "".join(f"{share:>12.3f}" for share in means.values()))
    if min(row["all"] for row in rows) < PASS:
        sys.exit(f"the gate is closed: all four right in less than {PASS:.0%} of a seed's prompts")
    print(f"the gate is open: all four right in at least {PASS:.0%}")


if __name__ == "__main__":
    main()
