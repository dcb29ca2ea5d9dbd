"""The models that this worker serves: found on disk, loaded when asked for, put away when memory is short."""

import gc
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from local_backend import weights_precision
from local_backend.errors import OutOfMemory
from local_backend.families import FAMILIES, tiny_random
from local_backend.families.family import Family, Task
from local_backend.folders import folder_of
from local_backend.memory import SPARE, Rung, Weight
from providers.presets import Preset


@dataclass(slots=True)
class Loaded:
    """A model in memory: a pipeline for each task, all on the same weights, held as `rung` says."""

    preset: Preset
    family: Family
    pipeline: Any
    tasks: Mapping[Task, Any]
    rung: Rung
    weight: Weight
    prepared: bool = False  # by what makes it faster
    used: float = field(default_factory=time.monotonic)

    @property
    def bytes_on_device(self) -> int:
        """Of its weights, in bytes."""
        return self.weight.on_device(self.rung)

    def hold(self, rung: Rung) -> None:
        """Decode in tiles or whole; what is offloaded stays so, as that changes no picture."""
        vae: Any = getattr(self.pipeline, "vae", None)
        if hasattr(vae, "enable_tiling"):
            vae.enable_tiling() if rung.tiled else vae.disable_tiling()


class Library:
    """Loaded models by name. Not thread-safe: the job thread owns it. `budget` is for weights, in bytes.

    Those `pinned` are not put away for others.
    """

    def __init__(
        self,
        models_dir: Path,
        device: str,
        presets: Sequence[Preset],
        budget: int | None,
        pinned: Collection[str] = (),
    ) -> None:
        self._models_dir = models_dir
        self._device = device
        self._presets = {preset.id: preset for preset in presets}
        self._budget = budget
        self._pinned = frozenset(pinned)
        self._loaded: dict[str, Loaded] = {}
        self._weights: dict[str, Weight] = {}
        self.evictions = 0

    def weight(self, name: str) -> Weight:
        """Bytes of its weights: as its files say, until it was loaded once, perhaps as other number types."""
        known = self._weights.get(name)
        if known is None:
            known = _weight_of(folder_of(self._presets[name], self._models_dir))
            if known.total:  # it may be built, or pulled, later
                self._weights[name] = known
        return known

    def get(self, name: str, rung: Rung) -> Loaded:
        """The model held as `rung` says, loaded now if it was not."""
        found = self._loaded.get(name)
        if found is not None and rung.offloads and found.rung < rung:
            self.drop(name)  # what is on the device has to leave it
            found = None
        if found is None:
            found = self._load(self._presets[name], rung)
            self._loaded[name] = found
        found.hold(rung)
        found.used = time.monotonic()
        return found

    def loaded(self) -> list[str]:
        """Names of those in memory."""
        return list(self._loaded)

    def drop_others(self, name: str) -> bool:
        """Put all models but this one and the pinned ones away; whether there were any."""
        others = self._loaded.keys() - self._pinned - {name}
        for other in others:
            self.drop(other)
        self.evictions += len(others)
        return bool(others)

    def _load(self, preset: Preset, rung: Rung) -> Loaded:
        folder = folder_of(preset, self._models_dir)
        if preset.weights.origin == "built" and not folder.exists():
            tiny_random.build(folder)
        self._make_room(self.weight(preset.id).on_device(rung))
        family = FAMILIES[preset.weights.family]
        pipeline = _opened(family, folder, preset)
        tasks = family.tasks(pipeline)
        for each in tasks.values():
            if hasattr(each, "set_progress_bar_config"):
                each.set_progress_bar_config(disable=True)
        weights_precision.apply(preset.weights, pipeline)
        weight = self._weights[preset.id] = _weight_in(pipeline)
        self._place(pipeline, rung)
        return Loaded(preset, family, pipeline, tasks, rung, weight)

    def _place(self, pipeline: Any, rung: Rung) -> None:
        """On the device, or beside it."""
        if rung is Rung.MODEL_OFFLOAD:
            pipeline.enable_model_cpu_offload(device=self._device)
        elif rung is Rung.GROUP_OFFLOAD:
            pipeline.enable_group_offload(
                onload_device=torch.device(self._device),
                offload_device=torch.device("cpu"),
                offload_type="leaf_level",
                use_stream=self._device.startswith("cuda"),
            )
        else:
            pipeline.to(self._device)

    def _make_room(self, needed: int) -> None:
        """Put the longest unused models away until the weights fit. OutOfMemory where those that stay leave no room."""
        while self._budget is not None and self._on_device() + needed * SPARE > self._budget:
            away = self._loaded.keys() - self._pinned
            if not away:
                pinned = ", ".join(sorted(self._loaded))
                raise OutOfMemory(f"{pinned} are pinned and leave too little for its weights")
            self.drop(min(away, key=lambda name: self._loaded[name].used))
            self.evictions += 1

    def _on_device(self) -> int:
        return sum(model.bytes_on_device for model in self._loaded.values())

    def drop(self, name: str) -> None:
        """Put a model away, if it is loaded."""
        self._loaded.pop(name, None)
        free(self._device)


def free(device: str) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.startswith("cuda"):
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


def _weight_in(pipeline: Any) -> Weight:
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return _weighed([sum(t.numel() * t.element_size() for t in part.parameters()) for part in parts])


def _weight_of(folder: Path) -> Weight:
    by_part: dict[Path, int] = {}
    for path in folder.rglob("*.safetensors"):
        by_part[path.parent] = by_part.get(path.parent, 0) + path.stat().st_size
    return _weighed(list(by_part.values()))


def _weighed(parts: list[int]) -> Weight:
    return Weight(total=sum(parts), largest=max(parts, default=0))
