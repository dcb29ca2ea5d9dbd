"""Trains the demo model: `python -m local_backend.demo.train --minutes 60`. Goes on from its checkpoint if there is one.

Clips are rendered as they are needed; nothing is downloaded. Every `--every` seconds it writes the checkpoint, makes
the 100 held-out prompts, has them judged and appends a line to the log, `train.jsonl` beside the checkpoint.
`--part refiner` then trains the refiner on what the transformer predicts, and writes the weights of all.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from local_backend.demo.denoiser_training import DenoiserTraining
from local_backend.demo.refiner_training import RefinerTraining
from local_backend.demo.training import Training


def run(
    training: DenoiserTraining | RefinerTraining, checkpoint: Path, minutes: float, every: float
) -> Iterator[dict[str, Any]]:
    """Train for `minutes` or to the last step; save and report every `every` seconds and at the end."""
    started = noted = time.monotonic()
    while training.step < training.total_steps:
        before = time.monotonic()
        training.train_step()
        now = time.monotonic()
        training.seconds += now - before
        over = now - started > minutes * 60
        if over or now - noted > every or training.step == training.total_steps:
            _save(training, checkpoint)
            yield training.report()
            noted = time.monotonic()
        if over:
            return


def _save(training: Training, checkpoint: Path) -> None:
    partial = checkpoint.with_suffix(".partial")
    torch.save(training.state(), partial)
    partial.replace(checkpoint)


def _restore(training: Training, checkpoint: Path) -> bool:
    """Go on from the checkpoint, if there is one."""
    if not checkpoint.exists():
        return False
    training.restore(torch.load(checkpoint, weights_only=True))
    print(f"{checkpoint.stem}: step {training.step}", file=sys.stderr)  # noqa: T201
    return True


def main() -> None:
    """Train, and print each line of the log."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo-model"))
    parser.add_argument("--part", choices=("denoiser", "refiner"), default="denoiser")
    parser.add_argument("--minutes", type=float, default=60, help="of this run")
    parser.add_argument("--steps", type=int, default=11_000, help="of the whole training, over all runs")
    parser.add_argument("--every", type=float, default=240, help="seconds between checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    denoiser = DenoiserTraining(options.steps, options.seed)
    trained = _restore(denoiser, options.out / "denoiser.pt")
    training: DenoiserTraining | RefinerTraining = denoiser
    if options.part == "refiner":
        if not trained:
            parser.error(
                f"--part refiner learns from the denoiser, and {options.out} has none: train that first"
            )
        training = RefinerTraining(denoiser.average.eval(), options.steps, options.seed)
        _restore(training, options.out / "refiner.pt")
    with (options.out / "train.jsonl").open("a") as log:
        for line in run(training, options.out / f"{options.part}.pt", options.minutes, options.every):
            print(json.dumps(line), file=log, flush=True)
            print(json.dumps(line), flush=True)  # noqa: T201
    if isinstance(training, RefinerTraining):
        training.pipeline().save_pretrained(options.out / "weights")


if __name__ == "__main__":
    main()
