"""The memory ladder: its rules, and the real engine running out of memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from local_backend.engine import Engine
from local_backend.errors import OutOfMemory, WorkerError
from local_backend.jobs import Jobs
from local_backend.memory import ALL, NOTHING, ON_DEVICE, Memory, Rung, Shape, Weight
from providers.presets import all_presets
from tests.local_backend.test_engine import TINY, Notes, made, order

SMALL, LARGE = Shape(64, 64, 17), Shape(128, 64, 17)
WEIGHT = Weight(total=1000, largest=600)
CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.80 GiB of which "
    "11.12 MiB is free. Including non-PyTorch memory, this process has 139.78 GiB memory in use."
)


@contextmanager
def starved(engine: Engine, times: int) -> Iterator[list[Rung]]:
    """The transformer runs out of memory so many times, as a CUDA device says it; which rungs were tried."""
    tried: list[Rung] = []
    kind = type(engine._library.get("onereel/tiny-random", Rung.PLAIN).pipeline.transformer)
    forward = kind.forward

    def hungry(self: object, *args: object, **kwargs: object) -> object:
        tried.append(engine._library._loaded["onereel/tiny-random"].rung)
        if len(tried) <= times:
            raise torch.OutOfMemoryError(CUDA)
        return forward(self, *args, **kwargs)

    kind.forward = hungry
    try:
        yield tried
    finally:
        kind.forward = forward


def fresh(models_dir: Path, rungs: tuple[Rung, ...] = ALL) -> Engine:
    return Engine(models_dir, "cpu", 1, list(TINY.values()), rungs=rungs)


def test_what_failed_is_not_tried_again_nor_anything_larger() -> None:
    memory = Memory(None)
    assert memory.rung("a", SMALL, WEIGHT) is Rung.PLAIN
    memory.ran_out("a", SMALL, Rung.PLAIN)
    assert memory.rung("a", SMALL, WEIGHT) is memory.rung("a", LARGE, WEIGHT) is Rung.TILED
    assert memory.rung("a", Shape(64, 64, 13), WEIGHT) is Rung.PLAIN
    assert memory.rung("a", Shape(64, 64, 13, clips=2), WEIGHT) is Rung.PLAIN
    assert memory.rung("b", LARGE, WEIGHT) is Rung.PLAIN


def test_a_failure_is_forgotten_after_an_hour() -> None:
    now = 0.0
    memory = Memory(None, clock=lambda: now)
    memory.ran_out("a", SMALL, Rung.PLAIN)
    now = 3599.0
    assert memory.rung("a", SMALL, WEIGHT) is Rung.TILED
    now = 3601.0
    assert memory.rung("a", SMALL, WEIGHT) is Rung.PLAIN


def test_what_failed_on_the_last_rung_is_refused() -> None:
    memory = Memory(None, ON_DEVICE)
    for rung in ON_DEVICE:
        memory.ran_out("a", SMALL, rung)
    with pytest.raises(OutOfMemory, match="17 frames of 128x64 were too much for it before"):
        memory.rung("a", LARGE, WEIGHT)


@pytest.mark.parametrize(
    ("budget", "rung"), [(1100, Rung.PLAIN), (1099, Rung.MODEL_OFFLOAD), (659, Rung.GROUP_OFFLOAD)]
)
def test_weights_that_do_not_fit_begin_beside_the_device(budget: int, rung: Rung) -> None:
    assert Memory(budget).rung("a", NOTHING, WEIGHT) is rung


def test_weights_that_no_rung_can_hold_are_refused_with_both_figures() -> None:
    with pytest.raises(OutOfMemory, match="need 19 MB, the worker may use 10 MB"):
        Memory(10_000_000, ON_DEVICE).rung("a", NOTHING, Weight(19_000_000, 19_000_000))


@pytest.mark.parametrize("rung", ALL)
def test_each_rung_makes_the_same_clip(models_dir: Path, rung: Rung) -> None:
    engine = fresh(models_dir, (rung,))
    assert made(engine, order()) == made(fresh(models_dir), order())
    assert engine._library._loaded["onereel/tiny-random"].rung is rung


def test_it_climbs_until_it_fits_and_begins_there_next_time(models_dir: Path) -> None:
    engine, plain = fresh(models_dir), made(fresh(models_dir), order())
    notes = Notes()
    with starved(engine, 2) as tried:
        assert made(engine, order(), notes) == plain
    assert tried[:3] == [Rung.PLAIN, Rung.PLAIN, Rung.MODEL_OFFLOAD]  # tiling is a way to decode, not to hold
    assert notes.stages.count("load") == 3
    assert engine.out_of_memory == 2
    again = Notes()
    assert made(engine, order(), again) == plain
    assert again.stages.count("load") == 1
    assert engine._library._loaded["onereel/tiny-random"].rung is Rung.MODEL_OFFLOAD
    assert engine.runtime(order())["memory"] == "model_offload"  # a larger shape begins there too


def test_a_failure_is_typed_leaves_a_clean_worker_and_is_refused_next_time(
    models_dir: Path, tmp_path: Path
) -> None:
    engine = fresh(models_dir)
    wanted = order(seed=9)
    with starved(engine, 99), pytest.raises(OutOfMemory, match="80x144 were too much"):
        engine.make([wanted], Notes())
    assert made(engine, order()) == made(fresh(models_dir), order())  # a smaller one is made as ever
    jobs = Jobs(tmp_path, lambda: engine, keep=60)
    jobs.engine = engine
    with pytest.raises(WorkerError) as refused:
        jobs.submit(wanted)
    assert (refused.value.status, refused.value.code) == (400, "out_of_memory")
    assert "ask for a smaller size" in refused.value.message


def test_other_models_make_room_before_a_rung_is_given_up(models_dir: Path) -> None:
    demo = all_presets()["onereel/demo"]
    engine = Engine(models_dir, "cpu", 1, [*TINY.values(), demo], rungs=ALL)
    engine._library.get(demo.id, Rung.PLAIN)
    with starved(engine, 1) as tried:
        made(engine, order())
    assert set(tried) == {Rung.PLAIN}
    assert engine.loaded == ["onereel/tiny-random"]
    assert engine.measured()["evictions"] == 1


def test_a_batch_that_does_not_fit_is_made_one_by_one(models_dir: Path) -> None:
    engine = fresh(models_dir)
    pair = [replace(order(), width=48, height=144), replace(order(seed=8), width=48, height=144)]
    alone = [made(engine, each) for each in pair]
    with starved(engine, 1) as tried:
        together = engine.make(pair, Notes())
    assert [clip.frames.tobytes() for clip in together] == alone
    assert set(tried) == {Rung.PLAIN}
    assert engine.out_of_memory == 1
    with starved(engine, 0) as tried:
        engine.make(pair, Notes())
    assert len(tried) == 2 * 2 * 4  # each alone: four steps, each with and without the prompt
