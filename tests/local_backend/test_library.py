"""Models in memory: loaded when asked for, put away when memory is short, and never from what is not allowed."""

import json
from pathlib import Path

import pytest

from local_backend.errors import OutOfMemory
from local_backend.folders import folder_of, present
from local_backend.library import Library
from local_backend.memory import Rung
from providers.presets import all_presets

DEMO = all_presets()["onereel/demo"]
TWIN = DEMO.model_copy(update={"id": "onereel/twin"})
TINY = all_presets()["onereel/tiny-random"]


def library(models_dir: Path, budget: int | None = None, pinned: tuple[str, ...] = ()) -> Library:
    return Library(models_dir, "cpu", [DEMO, TWIN, TINY], budget, pinned)


def test_a_model_is_loaded_once_and_measured(models_dir: Path) -> None:
    models = library(models_dir)
    demo = models.get(DEMO.id, Rung.PLAIN)
    assert models.get(DEMO.id, Rung.PLAIN) is demo
    assert demo.bytes_on_device == 4 * (269_440 + 8_909_568 + 197_472)  # float32
    assert models.get(TINY.id, Rung.PLAIN).bytes_on_device < demo.bytes_on_device
    assert models.loaded() == [DEMO.id, TINY.id]
    assert models.evictions == 0


def test_the_longest_unused_goes_when_memory_is_short(models_dir: Path) -> None:
    size = library(models_dir).get(DEMO.id, Rung.PLAIN).bytes_on_device
    models = library(models_dir, budget=int(1.5 * size))
    for model in (DEMO, TINY, DEMO, TWIN):
        models.get(model.id, Rung.PLAIN)
    assert TWIN.id in models.loaded()
    assert DEMO.id not in models.loaded()
    assert models.evictions == 2  # the tiny one was the longest unused, and too small to be enough


def test_a_pinned_model_stays_whatever_is_asked_for(models_dir: Path) -> None:
    size = library(models_dir).get(DEMO.id, Rung.PLAIN).bytes_on_device
    models = library(models_dir, budget=int(1.5 * size), pinned=(DEMO.id,))
    for model in (DEMO, TINY):
        models.get(model.id, Rung.PLAIN)
    with pytest.raises(OutOfMemory, match="onereel/demo are pinned and leave too little"):
        models.get(TWIN.id, Rung.PLAIN)
    assert models.loaded() == [DEMO.id]
    assert not models.drop_others(TWIN.id)


def test_weights_for_another_class_are_not_loaded(models_dir: Path, tmp_path: Path) -> None:
    library(models_dir).get(TINY.id, Rung.PLAIN)
    folder = folder_of(TINY, tmp_path)
    folder.mkdir(parents=True)
    for name in folder_of(TINY, models_dir).iterdir():
        (folder / name.name).symlink_to(name)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").unlink()
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ValueError, match="for 'StableDiffusionPipeline'; the family wan takes"):
        library(tmp_path).get(TINY.id, Rung.PLAIN)


def test_weights_are_part_of_the_package_or_lie_in_the_models_folder(tmp_path: Path) -> None:
    wan = all_presets()["local/wan2.2-5b"]
    assert present(DEMO, tmp_path)
    assert present(TINY, tmp_path)  # it is built there
    assert not present(wan, tmp_path)
    folder_of(wan, tmp_path).mkdir()
    assert present(wan, tmp_path)
