"""Jobs of one worker: a bounded queue, one thread that makes clips, one that writes files, which are kept for a while.

The HTTP side and the threads share `Job` objects; each field is written by one of them and read by the others.
"""

import logging
import os
import queue
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from local_backend import mux
from local_backend.clip import Clip
from local_backend.errors import Cancelled, MediaError, OutOfMemory, WorkerError
from local_backend.job import LOAD_SECONDS, Job, Together, patience
from local_backend.order import Order
from local_backend.pace import Course, Pace, Work
from local_backend.steps import Report
from providers.contract import ErrorKind

_LOG = logging.getLogger("local_backend")
_MAX_WAITING: Final = 64
_MAX_FINISHED: Final = 128
_WATCH_SECONDS: Final = 1


class State(StrEnum):
    """What the worker as a whole is doing."""

    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"


class Makes(Protocol):
    """The engine as the threads and the HTTP side use it. `slowest_step` in seconds."""

    @property
    def slowest_step(self) -> float: ...
    @property
    def loaded(self) -> list[str]: ...
    @property
    def codec(self) -> str: ...
    def make(self, orders: Sequence[Order], report: Report) -> list[Clip]: ...
    def batch_key(self, order: Order) -> tuple[Any, ...] | None: ...
    def refusal(self, order: Order) -> str | None: ...
    def work(self, order: Order) -> tuple[int, int]: ...
    def runtime(self, order: Order) -> dict[str, Any]: ...
    def measured(self) -> dict[str, Any]: ...


class Jobs:
    """The worker's jobs. `load` makes the engine, inside its thread; `keep` is seconds a finished one stays.

    `batch`: how many that are alike are made in one call at most. `on_end` is told of each that has ended.
    """

    def __init__(self, folder: Path, load: Callable[[], Makes], *, keep: float, batch: int = 1) -> None:
        self.engine: Makes | None = None
        self.on_end: Callable[[Job], None] = _nothing
        self._folder = folder
        self._load = load
        self._keep = keep
        self._batch = batch
        self._pace = Pace()
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._made: queue.Queue[tuple[Job, Clip] | None] = queue.Queue(maxsize=1)  # clips are large
        self._active: set[Job] = set()  # in the hands of a thread
        self._draining = False
        self._ended = False
        self._started = time.monotonic()
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (("make", self._run), ("write", self._write))
        ]

    def start(self) -> None:
        """Load the engine and begin to work."""
        for thread in self._threads:
            thread.start()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @property
    def state(self) -> State:
        """What the worker is doing now."""
        if self._draining:
            return State.DRAINING
        if self.engine is None:
            return State.LOADING
        running = any(job.status == "in_progress" for job in self.newest())
        return State.BUSY if running or self._active else State.READY

    def find(self, video_id: str) -> Job | None:
        """A job by its id."""
        return self._jobs.get(video_id)

    def newest(self) -> list[Job]:
        """All jobs, newest first."""
        return list(self._jobs.values())[::-1]

    def submit(self, order: Order) -> Job:
        """Queue the order, or give the job that its attempt has already. Takes the files of `order.media` over.

        WorkerError 503 while draining, 429 when too many wait, 400 for what cannot fit into memory.
        """
        with self._lock:
            known = self._jobs.get(order.video_id)
            if known is not None:
                return known
            self._admit(order)
            folder = self._folder / order.video_id
            job = Job(_adopted(order, folder), folder, self._keep)
            self._jobs[order.video_id] = job
            self._waiting.append(job)
            self._lock.notify()
        return job

    def check_open(self) -> None:
        """Refuse while draining. WorkerError 503."""
        if self._draining:
            raise WorkerError(503, "The worker is shutting down.", code="worker_draining", retry_after=2)

    def _admit(self, order: Order) -> None:
        self.check_open()
        if sum(job.status == "queued" for job in self.newest()) >= _MAX_WAITING:
            message = f"{_MAX_WAITING} videos are waiting already."
            raise WorkerError(429, message, code="concurrency_limited", retry_after=5)
        why = None if self.engine is None else self.engine.refusal(order)
        if why is not None:
            message = f"The device has too little memory for {order.preset.id}: {why}."
            raise WorkerError(400, message, code=ErrorKind.OUT_OF_MEMORY, param="size")
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
            if job in self._waiting:
                self._waiting.remove(job)
            self._forget(job)
            return True

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.order.video_id, None)
        if job.status != "in_progress":
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
        """Cancel everything at its next step and end the threads. Bounded wait: 5 seconds."""
        self.drain()
        for job in self.newest():
            job.cancelled.set()
        with self._lock:
            self._ended = True
            self._lock.notify_all()
        end = time.monotonic() + 5
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        try:
            self.engine = self._load()
        except Exception:
            _LOG.exception("the model cannot be loaded")
            os._exit(3)  # the supervisor starts a new one, later and later
        while batch := self._next(self.engine):
            self._make(batch, self.engine)
        self._made.put(None)

    def _next(self, engine: Makes) -> list[Job]:
        """The longest waiting job and those that can be made with it; empty at the end."""
        with self._lock:
            self._lock.wait_for(lambda: self._ended or self._waiting)
            if self._ended:
                return []
            first = self._waiting.popleft()
            batch, key = [first], engine.batch_key(first.order)
            if self._batch > 1 and key is not None:
                batch += [job for job in self._waiting if engine.batch_key(job.order) == key][
                    : self._batch - 1
                ]
            for job in batch[1:]:
                self._waiting.remove(job)
            for job in batch:
                job.status = "in_progress"
        return batch

    def _make(self, batch: list[Job], engine: Makes) -> None:
        model = batch[0].order.preset.id
        work = Work(model, *engine.work(batch[0].order))
        for job in batch:
            job.course = Course(self._pace.expected(work, loaded=model in engine.loaded))
        began = time.monotonic()
        clips: list[Clip] = []
        with self._holding(batch), self._told(batch):
            report = batch[0] if len(batch) == 1 else Together(batch)
            clips = engine.make([job.order for job in batch], report)
        for job in batch:
            job.device_seconds = (time.monotonic() - began) / len(batch)
        for job, clip in zip(batch, clips, strict=False):
            with self._told([job]):
                job.runtime = engine.runtime(job.order)
                job.stage("mux")
                self._made.put((job, clip))

    def _write(self) -> None:
        while (made := self._made.get()) is not None:
            job, clip = made
            with self._holding([job]), self._told([job]):
                mux.write(job.order, clip, job.path, job, self._codec)
                job.clock()
                self._pace_of(job)
                self._finish(job)
            del made, clip

    @property
    def _codec(self) -> str:
        return "libx264" if self.engine is None else self.engine.codec

    def _pace_of(self, job: Job) -> None:
        if self.engine is not None:
            self._pace.note(Work(job.order.preset.id, *self.engine.work(job.order)), job.stage_seconds)

    @contextmanager
    def _holding(self, batch: Sequence[Job]) -> Iterator[None]:
        """The watchdog looks at them meanwhile."""
        for job in batch:
            job.heard = time.monotonic()
        self._active |= set(batch)
        try:
            yield
        finally:
            self._active -= set(batch)

    @contextmanager
    def _told(self, batch: Sequence[Job]) -> Iterator[None]:
        """What goes wrong is told to the jobs, and ends them."""
        error: tuple[str, str] | None = None
        try:
            yield
        except Cancelled:
            error = (ErrorKind.CANCELLED, "The video was cancelled.")
        except MediaError as failure:
            error = (ErrorKind.INPUT_MEDIA, str(failure))
        except OutOfMemory as failure:
            error = (ErrorKind.OUT_OF_MEMORY, f"The device has too little memory: {failure}.")
        except Exception as failure:
            _LOG.exception("generation failed")
            error = (ErrorKind.PROVIDER_ERROR, f"The generation failed: {type(failure).__name__}.")
        for job in batch if error else ():
            job.error = error
            self._finish(job)

    def _finish(self, job: Job) -> None:
        for paths in job.order.media.values():
            for path in paths:
                path.unlink(missing_ok=True)
        with self._lock:
            job.completed_at = int(time.time())
            if job.error is None:
                job.progress = 100
            job.status = "completed" if job.error is None else "failed"
            if job.order.video_id not in self._jobs:  # deleted while it ran
                shutil.rmtree(job.folder, ignore_errors=True)
        self.on_end(job)

    def _watch(self) -> None:
        """Forget what is old, and end the process when a job hangs: nothing inside it can stop a running kernel."""
        while True:
            time.sleep(_WATCH_SECONDS)
            self.sweep()
            engine, now = self.engine, time.monotonic()
            if engine is None:
                stuck = now - self._started > LOAD_SECONDS
            else:
                slowest = engine.slowest_step
                stuck = any(now - job.heard > patience(job, slowest) for job in list(self._active))
            if stuck:
                _LOG.error("no progress: the worker ends itself")
                os.kill(os.getpid(), signal.SIGKILL)


def _nothing(_job: Job) -> None:
    """Nobody counts."""


def _adopted(order: Order, folder: Path) -> Order:
    """Make the job's folder and move the uploaded files into it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    media = {
        role: tuple(path.rename(folder / f"{role.value}-{index}") for index, path in enumerate(paths))
        for role, paths in order.media.items()
    }
    return replace(order, media=media)
