"""The steps of a running pipeline, seen through its progress bar: every pipeline has one, not every one calls back."""

import time
from collections.abc import Callable
from typing import Protocol, Self


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

    def __call__(self, total: int) -> Self:
        """As diffusers calls it."""
        if self._done == 0:
            self._total = total * self._passes
            self._report.stage("denoise")
        self._ended = None
        return self

    def update(self) -> None:
        """A step is done."""
        now = time.monotonic()
        if self._ended is not None:
            self._took(now - self._ended)
        self._ended = now
        self._done += 1
        self._report.step(self._done, self._total)
        if self._done == self._total:
            self._report.stage("decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
