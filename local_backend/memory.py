"""What fits: how a model is held for a shape, learnt from what ran out of memory. No torch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from local_backend.errors import OutOfMemory


class Rung(IntEnum):
    """Ways to hold a model, each needing less of the device's memory than the one before, and more time."""

    PLAIN = 0
    TILED = 1
    """The VAE decodes in tiles; their seams can show."""
    MODEL_OFFLOAD = 2
    """Only the part that works is on the device."""
    GROUP_OFFLOAD = 3
    """Only some layers of the part that works are."""

    @property
    def tiled(self) -> bool:
        return self is not Rung.PLAIN

    @property
    def offloads(self) -> bool:
        return self >= Rung.MODEL_OFFLOAD


_REMEMBERED_SECONDS: Final = 3600
ON_DEVICE: Final = (Rung.PLAIN, Rung.TILED)
ALL: Final = tuple(Rung)


@dataclass(frozen=True, slots=True)
class Shape:
    """What is made at once: pixels, frames, and how many clips."""

    width: int
    height: int
    frames: int
    clips: int = 1

    def within(self, other: "Shape") -> bool:
        """Whether it needs no more than the other."""
        return (
            self.width * self.height <= other.width * other.height
            and self.frames <= other.frames
            and self.clips <= other.clips
        )

    def __str__(self) -> str:
        several = "" if self.clips == 1 else f", {self.clips} clips"
        return f"{self.frames} frames of {self.width}x{self.height}{several}"


NOTHING: Final = Shape(0, 0, 0, 0)
"""The shape of weights alone."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes of a model's weights: all of them, and those of its largest part."""

    total: int
    largest: int

    def on_device(self, rung: Rung) -> int:
        """What of them is on the device at once; layers are too small to count."""
        if rung is Rung.GROUP_OFFLOAD:
            return 0
        return self.largest if rung is Rung.MODEL_OFFLOAD else self.total


@dataclass(slots=True)
class Memory:
    """Which rung to try for a model and a shape. `budget` is in bytes for weights, None without bound.

    A failure counts for an hour of `clock`: what failed beside another program's use of the device may fit later.
    """

    budget: int | None
    rungs: Sequence[Rung] = ALL
    clock: Callable[[], float] = time.monotonic
    _failed: dict[tuple[str, Rung], dict[Shape, float]] = field(default_factory=dict)

    def rung(self, model: str, shape: Shape, weight: Weight) -> Rung:
        """The first way that may fit. OutOfMemory where none does, which is known before anything is tried."""
        fitting = [rung for rung in self.rungs if self._holds(weight, rung)]
        if not fitting:
            least = min(weight.on_device(rung) for rung in self.rungs)
            have = 0 if self.budget is None else self.budget
            raise OutOfMemory(
                f"its weights need {least / 1e6:.0f} MB, the worker may use {have / 1e6:.0f} MB for them"
            )
        for rung in fitting:
            failed = self._failed.get((model, rung), {})
            if not any(small.within(shape) and self.clock() < until for small, until in failed.items()):
                return rung
        raise OutOfMemory(f"{shape} were too much for it before: ask for a smaller size or a shorter video")

    def ran_out(self, model: str, shape: Shape, rung: Rung) -> None:
        """Remember that this did not fit, nor anything larger."""
        self._failed.setdefault((model, rung), {})[shape] = self.clock() + _REMEMBERED_SECONDS

    def forget(self) -> None:
        """Try everything anew."""
        self._failed.clear()

    def _holds(self, weight: Weight, rung: Rung) -> bool:
        return self.budget is None or weight.on_device(rung) * SPARE <= self.budget


SPARE: Final = 1.1
"""Weights need this much room: what else a load takes."""
