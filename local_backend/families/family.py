"""What the engine has to know of a family of models: how its pipelines are called and what they can do. No torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from math import ceil
from pathlib import Path
from typing import Any, Final

from PIL import Image

from local_backend.clip import Sound
from local_backend.encode import Fit
from providers.presets import Weights

_LONGEST_RATIO: Final = 3
_ALIKE: Final = 0.03  # aspects nearer than this are as good as each other


class Task(StrEnum):
    """What a pipeline starts from; `CONTINUE` makes what comes after a clip of several frames."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a call starts from besides its prompt; pictures have the size that is made.

    `frames` are made in all. `clip` is the video to make anew, or the last frames of the one to continue; `strength`
    (0..1) how freely it is made anew; `references` are pictures of what shall appear.
    """

    task: Task
    frames: int
    steps: int
    first: Image.Image | None = None
    last: Image.Image | None = None
    references: Sequence[Image.Image] = ()
    clip: Sequence[Image.Image] = ()
    strength: float = 1.0


def plain(_pipeline: Any, given: Conditions) -> dict[str, Any]:
    """The arguments as most pipelines name them."""
    if given.task is Task.VIDEO:
        return {"video": list(given.clip), "strength": max(given.strength, 1 / given.steps)}
    images = {"image": given.first, "last_image": given.last}
    return {name: image for name, image in images.items() if image is not None}


def scale_argument(_pipeline: Any, scale: float) -> dict[str, Any]:
    """Guidance as an argument of the call."""
    return {"guidance_scale": scale}


def once(_frames: int) -> int:
    """All frames are made together."""
    return 1


def silent(_pipeline: Any, _output: Any) -> list[Sound]:
    """A family without sound."""
    return []


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture's rules.

    `classes` are the pipelines that a weights folder may name; nothing else is ever loaded. `tasks` turns the loaded
    pipeline into one per task, all on the same weights. Frames come in `frame_step` * k + `frame_offset`; widths and
    heights in multiples of `multiple` pixels (a model may need a larger one), or always that where it is not `sized`.
    `arguments` is what every call gets besides the common ones, `rate_argument` the name under which it is told the
    frames per second. `conditions` and `guidance` give the arguments for what a call starts from and for its guidance
    scale; `sounds` the sound of each clip of an output. A family that `continues` a video is shown its last `overlap`
    frames, which come first in what it makes, after themselves where it `repeats_clip`. `passes`: how often so many
    frames take all steps. `batches`: several prompts in one call. `load` opens what is no pipeline of diffusers.
    """

    name: str
    tasks: Callable[[Any], Mapping[Task, Any]]
    frame_step: int
    frame_offset: int
    multiple: int
    classes: frozenset[str] = frozenset()
    frames_argument: str | None = "num_frames"
    rate_argument: str | None = None
    negative_prompt: bool = True
    sized: bool = True
    fit: Fit = "crop"
    continues: bool = False
    overlap: int = 1
    repeats_clip: bool = False
    batches: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    conditions: Callable[[Any, Conditions], dict[str, Any]] = plain
    guidance: Callable[[Any, float], dict[str, Any]] = scale_argument
    sounds: Callable[[Any, Any], list[Sound]] = silent
    passes: Callable[[int], int] = once
    load: Callable[[Path], Any] | None = None

    def frames(self, seconds: Decimal | int, rate: Decimal, shown: int = 0) -> int:
        """How many frames to make for so many seconds at the native rate, after `shown` ones: never fewer."""
        wanted = max(1, ceil(seconds * rate) + shown)
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
