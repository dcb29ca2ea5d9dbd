"""The training script goes on exactly where a checkpoint was written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from local_backend.demo.denoiser_training import DenoiserTraining
from local_backend.demo.refiner_training import RefinerTraining


@pytest.fixture(autouse=True)
def gradients() -> Iterator[None]:
    """An engine, which never learns, switches them off for its whole process."""
    with torch.enable_grad():
        yield


def small() -> DenoiserTraining:
    """A training of small batches whose step is not compiled: the same arithmetic, ready at once."""
    training = DenoiserTraining(total_steps=50, seed=4, batch=4)
    training.compute = training.model
    return training


def through(path: Path, training: DenoiserTraining | RefinerTraining) -> dict[str, Any]:
    torch.save(training.state(), path)
    return torch.load(path, weights_only=True)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.timeout(400)
def test_a_training_interrupted_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = small()
    for _ in range(3):
        whole.train_step()
    kept = through(tmp_path / "denoiser.pt", whole)
    whole.train_step()
    resumed = small()
    resumed.restore(kept)
    resumed.train_step()
    assert (resumed.step, resumed.loss) == (whole.step, whole.loss)
    assert same(resumed.model, whole.model)
    assert same(resumed.average, whole.average)


def test_the_refiner_learns_and_goes_on_too(tmp_path: Path) -> None:
    denoiser = small().average.eval()
    whole = RefinerTraining(denoiser, total_steps=50, seed=4)
    before = {name: value.clone() for name, value in whole.refiner.state_dict().items()}
    whole.train_step()
    kept = through(tmp_path / "refiner.pt", whole)
    whole.train_step()
    resumed = RefinerTraining(denoiser, total_steps=50, seed=4)
    resumed.restore(kept)
    resumed.train_step()
    assert same(resumed.refiner, whole.refiner)
    assert any(not torch.equal(value, before[name]) for name, value in whole.refiner.state_dict().items())


def test_weights_written_are_weights_read(tmp_path: Path) -> None:
    made = RefinerTraining(small().average.eval(), total_steps=50, seed=4).pipeline()
    made.save_pretrained(tmp_path)
    read = type(made).from_pretrained(tmp_path)
    for part in ("text_encoder", "transformer", "refiner"):
        written = getattr(made, part).state_dict()
        for name, value in getattr(read, part).state_dict().items():
            assert torch.equal(value, written[name].half().float()), name
