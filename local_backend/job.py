"""One video on its way through the worker."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from local_backend.errors import Cancelled
from local_backend.order import Order
from local_backend.pace import Course
from local_backend.steps import Report

LOAD_SECONDS: Final = 1800
_SLOW_SECONDS: Final = 600  # a decoder, and a first step, which may be compiled, say nothing for long
_STUCK_SECONDS: Final = 120


class Job:
    """Its order, how far it is, and its file. Times are seconds since the epoch, `keep` is seconds."""

    def __init__(self, order: Order, folder: Path, keep: float) -> None:
        self.order = order
        self._keep = keep
        self.folder = folder
        self.created_at = int(time.time())
        self.completed_at: int | None = None
        self.status = "queued"
        self.progress = 0
        self.stage_name = "load"
        self.step_done = 0
        self.step_total = order.steps
        self.error: tuple[str, str] | None = None  # code, message
        self.cancelled = threading.Event()
        self.heard = time.monotonic()
        self.runtime: dict[str, Any] | None = None
        self.device_seconds: float | None = None  # how long it had the device, once that is done
        self.course = Course(None)
        self.stage_seconds: dict[str, float] = {}
        self._entered: float | None = None

    @property
    def path(self) -> Path:
        """The finished file."""
        return self.folder / "video.mp4"

    @property
    def terminal(self) -> bool:
        """Nothing will change any more."""
        return self.status in {"completed", "failed"}

    @property
    def expires_at(self) -> int | None:
        """When the file goes away."""
        return None if self.completed_at is None else self.completed_at + int(self._keep)

    @property
    def eta_seconds(self) -> float | None:
        """What is left of a running video, from measured times; None where there are none."""
        left = self.course.seconds_left
        return None if self.status != "in_progress" or left is None else round(left, 1)

    def stage(self, name: str) -> None:
        """Enter a stage."""
        self.clock()
        self.stage_name = name
        self._advance(0.0)

    def step(self, done: int, total: int) -> None:
        """Note a denoising step."""
        self.step_done, self.step_total = done, total
        self._advance(done / total)

    def muxed(self, share: float) -> None:
        """Note how much of the file is written."""
        self._advance(share)

    def clock(self) -> None:
        """The stage ends here: note how long it took."""
        now = time.monotonic()
        if self._entered is not None:
            took = self.stage_seconds.get(self.stage_name, 0.0) + now - self._entered
            self.stage_seconds[self.stage_name] = took
        self._entered = now

    def _advance(self, share: float) -> None:
        self.heard = time.monotonic()
        self.course.at(self.stage_name, share)
        self.progress = max(self.progress, self.course.progress)
        if self.cancelled.is_set():
            raise Cancelled


def patience(job: Job, slowest_step: float) -> float:
    """Seconds without a sign of life after which a job counts as stuck."""
    if job.stage_name == "load":
        return LOAD_SECONDS
    usual = max(_STUCK_SECONDS, 10 * slowest_step)
    silent = job.stage_name == "decode" or (job.stage_name == "denoise" and job.step_done == 0)
    return max(usual, _SLOW_SECONDS) if silent else usual


class Together:
    """Reports of one call to all its jobs: it goes on until the last one is cancelled."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self._reports = reports

    def stage(self, name: str) -> None:
        self._tell("stage", name)

    def step(self, done: int, total: int) -> None:
        self._tell("step", done, total)

    def muxed(self, share: float) -> None:
        self._tell("muxed", share)

    def _tell(self, what: str, *values: Any) -> None:
        cancelled = 0
        for report in self._reports:
            try:
                getattr(report, what)(*values)
            except Cancelled:
                cancelled += 1
        if cancelled == len(self._reports):
            raise Cancelled
