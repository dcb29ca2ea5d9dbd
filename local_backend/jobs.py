"""Jobs of one worker: a bounded queue, one thread that generates, finished files kept for a while.

The HTTP side and the job thread share `Job` objects; each field is written by one of them and read by the other.
"""

import logging
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from local_backend.errors import Cancelled, MediaError, OutOfMemory, WorkerError
from local_backend.order import Order
from providers.contract import ErrorKind

_LOG = logging.getLogger("local_backend")
_MAX_WAITING: Final = 64
_MAX_FINISHED: Final = 128
_SPANS: Final = {"load": (0, 0), "encode": (1, 5), "denoise": (5, 45), "decode": (45, 60), "mux": (60, 99)}
"""Stage: progress in percent where it begins and ends, roughly its share of the time."""
_STUCK_SECONDS: Final = 120
_LOAD_SECONDS: Final = 600
_WATCH_SECONDS: Final = 1


class State(StrEnum):
    """What the worker as a whole is doing."""

    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"


class Report(Protocol):
    """Where a running job tells how far it is; every method raises Cancelled once the job is cancelled."""

    def stage(self, name: str) -> None: ...
    def step(self, done: int, total: int) -> None: ...
    def muxed(self, share: float) -> None: ...


class Generates(Protocol):
    """The engine as the job thread uses it. `slowest_step` in seconds."""

    @property
    def slowest_step(self) -> float: ...
    @property
    def loaded(self) -> list[str]: ...
    def generate(self, order: Order, out: Path, report: Report) -> None: ...
    def measured(self) -> dict[str, float | int]: ...


class Job:
    """One video on its way: its order, how far it is, and its file. Times are seconds since the epoch."""

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
        self.device_seconds: float | None = None  # how long it had the device, once it is done

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

    def stage(self, name: str) -> None:
        """Enter a stage."""
        self.stage_name = name
        self._advance(_SPANS[name][0])

    def step(self, done: int, total: int) -> None:
        """Note a denoising step."""
        self.step_done, self.step_total = done, total
        self._advance_within("denoise", done / total)

    def muxed(self, share: float) -> None:
        """Note how much of the file is written."""
        self._advance_within("mux", share)

    def _advance_within(self, name: str, share: float) -> None:
        low, high = _SPANS[name]
        self._advance(low + int((high - low) * share))

    def _advance(self, progress: int) -> None:
        self.heard = time.monotonic()
        self.progress = max(self.progress, progress)
        if self.cancelled.is_set():
            raise Cancelled


class Jobs:
    """The worker's jobs. `load` makes the engine, inside the job thread; `keep` is seconds a finished one stays."""

    def __init__(self, folder: Path, load: Callable[[], Generates], *, keep: float) -> None:
        self.engine: Generates | None = None
        self._folder = folder
        self._load = load
        self._keep = keep
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._current: Job | None = None
        self._draining = False
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)

    def start(self) -> None:
        """Load the engine and begin to work, both in the job thread."""
        self._thread.start()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @property
    def state(self) -> State:
        """What the worker is doing now."""
        if self._draining:
            return State.DRAINING
        if self.engine is None:
            return State.LOADING
        return State.READY if self._current is None else State.BUSY

    def find(self, video_id: str) -> Job | None:
        """A job by its id."""
        return self._jobs.get(video_id)

    def newest(self) -> list[Job]:
        """All jobs, newest first."""
        return list(self._jobs.values())[::-1]

    def submit(self, order: Order) -> Job:
        """Queue the order, or give the job that its attempt has already. Takes the file `order.media` over.

        WorkerError 503 while draining, 429 when too many wait.
        """
        with self._lock:
            known = self._jobs.get(order.video_id)
            if known is not None:
                return known
            self._admit()
            job = Job(
                _adopted(order, self._folder / order.video_id), self._folder / order.video_id, self._keep
            )
            self._jobs[order.video_id] = job
        self._waiting.put(job)
        return job

    def check_open(self) -> None:
        """Refuse while draining. WorkerError 503."""
        if self._draining:
            raise WorkerError(503, "The worker is shutting down.", code="worker_draining", retry_after=2)

    def _admit(self) -> None:
        self.check_open()
        if sum(job.status == "queued" for job in self.newest()) >= _MAX_WAITING:
            message = f"{_MAX_WAITING} videos are waiting already."
            raise WorkerError(429, message, code="concurrency_limited", retry_after=5)
        finished = [job for job in self._jobs.values() if job.terminal]
        for job in finished[: max(0, len(finished) - _MAX_FINISHED + 1)]:
            self._forget(job)

    def delete(self, video_id: str) -> bool:
        """Cancel at the next step boundary if it still runs, and forget it. False if there is none."""
        with self._lock:
            job = self._jobs.get(video_id)
            if job is None:
                return False
            job.cancelled.set()
            self._forget(job)
            return True

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.order.video_id, None)
        if job is not self._current:
            shutil.rmtree(job.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Forget what finished longer ago than `keep`."""
        limit = time.time() - self._keep
        with self._lock:
            for job in list(self._jobs.values()):
                if job.completed_at is not None and job.completed_at < limit:
                    self._forget(job)

    def drain(self) -> None:
        """Take nothing new; let what runs come to its end."""
        self._draining = True

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits to be run."""
        return all(job.terminal for job in self.newest())

    def abort(self) -> None:
        """Cancel everything at its next step and end the job thread. Bounded wait: 5 seconds."""
        self.drain()
        for job in self.newest():
            job.cancelled.set()
        self._waiting.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            self.engine = self._load()
        except Exception:
            _LOG.exception("the model cannot be loaded")
            os._exit(3)  # the supervisor starts a new one, later and later
        while (job := self._waiting.get()) is not None:
            self._work(job, self.engine)

    def _work(self, job: Job, engine: Generates) -> None:
        with self._lock:
            if job.cancelled.is_set():
                return
            self._current = job
        job.heard = began = time.monotonic()
        job.status = "in_progress"
        try:
            engine.generate(job.order, job.path, job)
        except Cancelled:
            job.error = (ErrorKind.CANCELLED, "The video was cancelled.")
        except MediaError as error:
            job.error = (ErrorKind.INPUT_MEDIA, str(error))
        except OutOfMemory as error:
            job.error = (ErrorKind.OUT_OF_MEMORY, f"The device has too little memory: {error}")
        except Exception as error:
            _LOG.exception("generation failed")
            job.error = (ErrorKind.PROVIDER_ERROR, f"The generation failed: {type(error).__name__}.")
        job.device_seconds = time.monotonic() - began
        self._finish(job)

    def _finish(self, job: Job) -> None:
        if job.order.media is not None:
            job.order.media.unlink(missing_ok=True)
        with self._lock:
            job.completed_at = int(time.time())
            if job.error is None:
                job.progress = 100
            job.status = "completed" if job.error is None else "failed"
            self._current = None
            if job.order.video_id not in self._jobs:  # deleted while it ran
                shutil.rmtree(job.folder, ignore_errors=True)

    def _watch(self) -> None:
        """Kill the process when a step hangs: nothing inside it can stop a running kernel."""
        while True:
            time.sleep(_WATCH_SECONDS)
            self.sweep()
            job, engine = self._current, self.engine
            now = time.monotonic()
            if engine is None:
                stuck = now - self._started > _LOAD_SECONDS
            else:
                allowed = max(_STUCK_SECONDS, 10 * engine.slowest_step)
                stuck = job is not None and now - job.heard > allowed
            if stuck:
                _LOG.error("no progress: the worker ends itself")
                os.kill(os.getpid(), signal.SIGKILL)


def _adopted(order: Order, folder: Path) -> Order:
    """Make the job's folder and move the uploaded file into it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if order.media is None:
        return order
    return replace(order, media=order.media.rename(folder / "input"))
