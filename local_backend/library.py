"""The models that this worker serves: found on disk, loaded when asked for, put away when memory is short."""

import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from local_backend.errors import OutOfMemory
from local_backend.families import FAMILIES, tiny_random
from local_backend.families.family import Family, Task
from local_backend.folders import folder_of
from providers.presets import Preset

_SPARE = 1.1  # weights need this much room: what else a load takes


@dataclass(slots=True)
class Loaded:
    """A model in memory: a pipeline for each task, all on the same weights of so many `bytes`."""

    preset: Preset
    family: Family
    tasks: Mapping[Task, Any]
    bytes: int
    used: float = field(default_factory=time.monotonic)


class Library:
    """Loaded models by name. Not thread-safe: the job thread owns it.

    `budget` is for weights, in bytes; `prepare` is called with every scheduler that is loaded.
    """

    def __init__(
        self,
        models_dir: Path,
        device: str,
        presets: Sequence[Preset],
        budget: int | None,
        prepare: Callable[[Any], None],
    ) -> None:
        self._models_dir = models_dir
        self._device = device
        self._presets = {preset.id: preset for preset in presets}
        self._budget = budget
        self._loaded: dict[str, Loaded] = {}
        self._prepare = prepare
        # bytes of what was loaded once: its files may hold other number types
        self._measured: dict[str, int] = {}
        self.evictions = 0

    def get(self, name: str) -> Loaded:
        """The model, loaded now if it was not. OutOfMemory where its weights exceed the budget."""
        found = self._loaded.get(name)
        if found is None:
            found = self._load(self._presets[name])
            self._loaded[name] = found
        found.used = time.monotonic()
        return found

    def loaded(self) -> list[str]:
        """Names of those in memory."""
        return list(self._loaded)

    def _load(self, preset: Preset) -> Loaded:
        folder = folder_of(preset, self._models_dir)
        if preset.weights.origin == "built" and not folder.exists():
            tiny_random.build(folder)
        self._make_room(self._measured.get(preset.id) or _bytes_of(folder))
        family = FAMILIES[preset.weights.family]
        pipeline = _opened(family, folder, preset).to(self._device)
        tasks = family.tasks(pipeline)
        for each in tasks.values():
            if hasattr(each, "set_progress_bar_config"):
                each.set_progress_bar_config(disable=True)
        for scheduler in {id(each.scheduler): each.scheduler for each in tasks.values()}.values():
            self._prepare(scheduler)
        size = sum(t.numel() * t.element_size() for t in _tensors(pipeline))
        self._measured[preset.id] = size
        return Loaded(preset, family, tasks, size)

    def _make_room(self, needed: int) -> None:
        """Put the longest unused models away until the weights fit."""
        if self._budget is None:
            return
        if needed * _SPARE > self._budget:
            raise OutOfMemory(
                f"its weights need {needed / 1e6:.0f} MB, the worker may use {self._budget / 1e6:.0f} MB"
            )
        while self._loaded and sum(m.bytes for m in self._loaded.values()) + needed * _SPARE > self._budget:
            oldest = min(self._loaded, key=lambda name: self._loaded[name].used)
            del self._loaded[oldest]
            self.evictions += 1
            gc.collect()
            if self._device.startswith("cuda"):
                torch.cuda.empty_cache()


def _opened(family: Family, folder: Path, preset: Preset) -> Any:
    """The pipeline of a weights folder. Only a class of the family, only safetensors, no code from the folder."""
    if family.load is not None:
        return family.load(folder)
    named = json.loads((folder / "model_index.json").read_text()).get("_class_name")
    if named not in family.classes:
        allowed = ", ".join(sorted(family.classes))
        raise ValueError(
            f"{preset.id}: its weights are for '{named}'; the family {family.name} takes {allowed}"
        )
    dtype = getattr(torch, preset.weights.dtype)
    return DiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype)


def _tensors(pipeline: Any) -> list[torch.Tensor]:
    parts = pipeline.components.values()
    return [t for part in parts if isinstance(part, torch.nn.Module) for t in part.parameters()]


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
