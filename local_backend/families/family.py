"""What the engine has to know of a family of models: how its pipelines are called and what they can do. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from math import ceil
from pathlib import Path
from typing import Any, Final

from local_backend.encode import Fit
from providers.presets import Weights

_LONGEST_RATIO: Final = 3
_ALIKE: Final = 0.03  # aspects nearer than this are as good as each other


class Task(StrEnum):
    """What a pipeline starts from."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture's rules.

    `classes` are the pipelines that a weights folder may name; nothing else is ever loaded. `tasks` turns the loaded
    pipeline into one per task, all on the same weights. Frames come in `frame_step` * k + `frame_offset`; widths and
    heights in multiples of `multiple` pixels (a model may need a larger one), or always that where it is not `sized`.
    `arguments` is what every call gets besides the common ones. `load` opens what is no pipeline of diffusers.
    """

    name: str
    tasks: Callable[[Any], Mapping[Task, Any]]
    frame_step: int
    frame_offset: int
    multiple: int
    classes: frozenset[str] = frozenset()
    frames_argument: str | None = "num_frames"
    negative_prompt: bool = True
    sized: bool = True
    fit: Fit = "crop"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    load: Callable[[Path], Any] | None = None

    def frames(self, seconds: Decimal | int, rate: Decimal) -> int:
        """How many frames to make for so many seconds at the native rate: never fewer than that."""
        wanted = max(1, ceil(seconds * rate))
        return ceil((wanted - self.frame_offset) / self.frame_step) * self.frame_step + self.frame_offset

    def native_size(self, width: int, height: int, weights: Weights) -> tuple[int, int]:
        """The (width, height) in pixels made for a file of this size: nearest in aspect, then the largest."""
        if not self.sized:
            return self.multiple, self.multiple
        wanted, area = width / height, weights.area
        multiple = weights.multiple or self.multiple
        sides = range(multiple, int((_LONGEST_RATIO * area) ** 0.5) + 1, multiple)
        candidates = [
            (w, h) for w in sides for h in sides if w * h <= area and max(w, h) <= _LONGEST_RATIO * min(w, h)
        ]
        return min(candidates, key=lambda c: (int(abs(c[0] / c[1] / wanted - 1) / _ALIKE), -c[0] * c[1]))
