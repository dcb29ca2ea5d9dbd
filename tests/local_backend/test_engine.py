"""The real pipelines, in this process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local_backend import frames, mux
from local_backend.engine import Engine
from local_backend.errors import Cancelled
from local_backend.families import tiny_random
from local_backend.order import Order, read_order
from providers.contract import MediaRole, Operation
from providers.presets import all_presets
from tests.local_backend.conftest import facts

TINY = {"onereel/tiny-random": all_presets()["onereel/tiny-random"]}
STAGES = ["load", "encode", "denoise", "decode"]
ROLES = {
    Operation.GENERATE: MediaRole.FIRST_FRAME,
    Operation.EDIT: MediaRole.SOURCE,
    Operation.EXTEND: MediaRole.EXTEND_FROM,
}


class Notes:
    """Writes down what the engine reports; raises Cancelled after step `stop`."""

    def __init__(self, stop: int = 0) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int]] = []
        self.shares: list[float] = []
        self._stop = stop

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))
        if done == self._stop:
            raise Cancelled

    def muxed(self, share: float) -> None:
        self.shares.append(share)


@pytest.fixture(scope="module")
def engine(models_dir: Path) -> Engine:
    return Engine(models_dir, "cpu", 1, list(TINY.values()))


def order(operation: Operation = Operation.GENERATE, file: Path | None = None, **fields: Any) -> Order:
    media = {ROLES[operation]: (file,)} if file else {}
    source = frames.probe_video(file) if file and operation is not Operation.GENERATE else None
    given = {"prompt": "a red fox", "seed": 7, "num_inference_steps": 4, **fields}
    return read_order(given, operation, media, source, TINY)


def made(engine: Engine, wanted: Order, notes: Notes | None = None) -> bytes:
    """The generated pictures, before any file is written; narrow ones, for speed."""
    narrow = replace(wanted, width=48, height=144)
    return engine.make([narrow], notes or Notes())[0].frames.tobytes()


def test_every_stage_and_every_step_is_told(engine: Engine, tmp_path: Path) -> None:
    notes = Notes()
    wanted = order(num_inference_steps=6)
    (clip,) = engine.make([wanted], notes)
    mux.write(wanted, clip, tmp_path / "a.mp4", notes)
    assert notes.stages == STAGES
    assert notes.steps == [(step, 6) for step in range(1, 7)]
    assert len(notes.shares) == 96
    assert facts(tmp_path / "a.mp4") == (720, 1280, 24, 4)


def test_seeds_reproduce_and_inputs_matter(engine: Engine) -> None:
    first = made(engine, order())
    assert made(engine, order()) == first
    assert made(engine, order(seed=8)) != first
    assert made(engine, order(prompt="日本の海")) != first
    assert made(engine, order(negative_prompt="fog")) != first


def test_a_cancel_takes_effect_at_the_step_and_leaves_no_trace(engine: Engine) -> None:
    before = made(engine, order())
    notes = Notes(stop=2)
    with pytest.raises(Cancelled):
        engine.make([order(seed=9)], notes)
    assert notes.steps == [(1, 4), (2, 4)]
    assert made(engine, order()) == before


def test_image_and_video_conditions_reach_the_pipelines(engine: Engine, image: Path, clip: Path) -> None:
    notes = Notes()
    results = {
        made(engine, order()),
        made(engine, order(file=image)),
        made(engine, order(Operation.EXTEND, clip)),
        made(engine, order(Operation.EDIT, clip, strength=0.5), notes),
        made(engine, order(Operation.EDIT, clip, strength=1)),
    }
    assert len(results) == 5
    assert notes.steps == [(1, 2), (2, 2)]  # half the strength, half the steps


def test_the_model_is_built_once_and_whole(engine: Engine, models_dir: Path, tmp_path: Path) -> None:
    (folder,) = models_dir.iterdir()
    assert not list(folder.rglob("*.bin"))
    assert {path.parent.name for path in folder.rglob("*.safetensors")} == {
        "text_encoder",
        "transformer",
        "vae",
    }
    again = tmp_path / "again"
    tiny_random.build(again)
    for weights in folder.rglob("*.safetensors"):
        assert (again / weights.relative_to(folder)).read_bytes() == weights.read_bytes()


def test_it_measures_itself(engine: Engine) -> None:
    made(engine, order())
    found = engine.measured()
    assert 0 < found["step_seconds"]["onereel/tiny-random"] <= engine.slowest_step < 60
    assert found["load_seconds"] > 0
    assert found["peak_memory_bytes"] > 100_000_000
