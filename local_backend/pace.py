"""How long the stages of a video take, measured on this worker: honest progress and the time that is left. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

STAGES: Final = ("load", "encode", "denoise", "decode", "mux")
USUAL: Final[Mapping[str, float]] = {"load": 1, "encode": 4, "denoise": 40, "decode": 15, "mux": 39}
"""Shares of the time where nothing was measured yet."""
_SCALED: Final = frozenset({"denoise", "decode", "mux"})  # what grows with the work; the others do not


@dataclass(frozen=True, slots=True)
class Work:
    """What decides how long a video takes: `size` is frames x pixels, made `steps` times."""

    model: str
    size: int
    steps: int


@dataclass(slots=True)
class Pace:
    """The last measured seconds of each stage, by model and work."""

    _known: dict[Work, dict[str, float]] = field(default_factory=dict)
    _loads: dict[str, float] = field(default_factory=dict)

    def note(self, work: Work, seconds: Mapping[str, float]) -> None:
        """A video was made. A model that was loaded already tells nothing about loading: the longest time counts."""
        self._known[work] = dict(seconds)
        self._loads[work.model] = max(self._loads.get(work.model, 0.0), seconds.get("load", 0.0))

    def expected(self, work: Work, *, loaded: bool) -> Mapping[str, float] | None:
        """Seconds of each stage: measured for the same work, or scaled from other work of that model; else None."""
        stages = self._stages(work)
        load = 0.0 if loaded else self._loads.get(work.model, 0.0)
        return None if stages is None else {**stages, "load": load}

    def _stages(self, work: Work) -> Mapping[str, float] | None:
        exact = self._known.get(work)
        if exact is not None:
            return exact
        others = [(other, seconds) for other, seconds in self._known.items() if other.model == work.model]
        if not others:
            return None
        other, seconds = min(others, key=lambda each: abs(each[0].size - work.size))
        larger = work.size / max(1, other.size)
        slower = {"denoise": larger * work.steps / max(1, other.steps)}
        return {
            name: value * (slower.get(name, larger) if name in _SCALED else 1)
            for name, value in seconds.items()
        }


@dataclass(slots=True)
class Course:
    """One video on its way through the stages, against what is `expected` of them (seconds, or None)."""

    expected: Mapping[str, float] | None
    _stage: str = "load"
    _share: float = 0.0

    def at(self, stage: str, share: float = 0.0) -> None:
        """How far it is: in this stage, so much of it."""
        self._stage, self._share = stage, min(1.0, share)

    @property
    def progress(self) -> int:
        """0..99; 100 is a finished file's."""
        shares = self.expected or USUAL
        whole = sum(shares.values()) or 1
        return min(99, int(100 * (1 - self._left(shares) / whole)))

    @property
    def seconds_left(self) -> float | None:
        """None before anything comparable was measured."""
        return None if self.expected is None else self._left(self.expected)

    def _left(self, shares: Mapping[str, float]) -> float:
        place = STAGES.index(self._stage)
        later = sum(shares.get(name, 0.0) for name in STAGES[place + 1 :])
        return shares.get(self._stage, 0.0) * (1 - self._share) + later
