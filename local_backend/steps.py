"""The steps of a running pipeline, seen through its progress bar: every pipeline has one, not every one calls back."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self


class Report(Protocol):
    """Where a running job tells how far it is; every method raises Cancelled once the job is cancelled."""

    def stage(self, name: str) -> None: ...
    def step(self, done: int, total: int) -> None: ...
    def muxed(self, share: float) -> None: ...


class Steps:
    """Stands in for `progress_bar` of one call, whose steps are taken `passes` times.

    `took` is told the seconds of each step but the first of a pass. What the report raises ends the call at that step.
    """

    def __init__(self, report: Report, passes: int, took: Callable[[float], None]) -> None:
        self._report = report
        self._passes = passes
        self._took = took
        self._done = 0
        self._total = 0
        self._ended: float | None = None

    def __call__(self, iterable: Iterable[Any] | None = None, total: int | None = None) -> Any:
        """As diffusers calls it: with the number of steps, or with the steps themselves."""
        steps = list(iterable) if iterable is not None else None
        count = len(steps) if steps is not None else total or 1
        if self._done == 0:
            self._total = count * self._passes
            self._report.stage("denoise")
        self._ended = None
        return self if steps is None else self._walk(steps)

    def _walk(self, steps: list[Any]) -> Iterator[Any]:
        for step in steps:
            yield step
            self.update()

    def update(self, steps: int = 1) -> None:
        """A step is done."""
        now = time.monotonic()
        if self._ended is not None:
            self._took(now - self._ended)
        self._ended = now
        self._done += steps
        self._total = max(self._total, self._done)
        self._report.step(self._done, self._total)
        if self._done == self._total:
            self._report.stage("decode")

    def close(self) -> None:
        """Nothing is drawn."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
