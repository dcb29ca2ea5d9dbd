"""Our own worker on a GPU: the bundled model through the real engine and job thread."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from local_backend import mux
from local_backend.engine import Engine
from local_backend.errors import Cancelled
from local_backend.job import Job
from local_backend.jobs import Jobs
from local_backend.order import Order, read_order
from providers.contract import Operation
from providers.presets import all_presets

_WAIT_SECONDS = 120
TINY = {"onereel/tiny-random": all_presets()["onereel/tiny-random"]}
PRESETS = list(TINY.values())


class _Stop:
    """A report that raises Cancelled after step `stop` (0: never)."""

    def __init__(self, stop: int = 0) -> None:
        self.steps = 0
        self._stop = stop

    def stage(self, name: str) -> None: ...

    def step(self, done: int, total: int) -> None:
        self.steps = done
        if done == self._stop:
            raise Cancelled

    def muxed(self, share: float) -> None: ...


def _order(attempt: str) -> Order:
    return read_order(
        {"prompt": "a red fox", "seed": 7, "attempt_id": attempt}, Operation.GENERATE, {}, None, TINY
    )


def _pictures(engine: Engine) -> Any:
    """0..1, so that differences read like those of the other rows."""
    return engine.make([_order("e")], _Stop())[0].frames.astype("float32") / 255


def _made(engine: Engine, name: str, out: Path, report: _Stop) -> None:
    order = _order(name)
    mux.write(order, engine.make([order], report)[0], out, report)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def direct(folder: Path, device: str) -> dict[str, Any]:
    """The engine alone: the same seed twice, a cancel at a step, the same seed again, and a CPU engine beside it."""
    engine = Engine(folder / "models", device, 4, PRESETS)
    digests = []
    seconds = []
    for name in ("a", "b"):
        began = time.monotonic()
        _made(engine, name, folder / f"{name}.mp4", _Stop())
        seconds.append(round(time.monotonic() - began, 3))
        digests.append(_digest(folder / f"{name}.mp4"))
    stop = _Stop(3)
    cancelled = False
    try:
        _made(engine, "c", folder / "c.mp4", stop)
    except Cancelled:
        cancelled = True
    _made(engine, "d", folder / "d.mp4", _Stop())
    digests.append(_digest(folder / "d.mp4"))
    pictures = _pictures(engine)
    on_cpu = _pictures(Engine(folder / "models", "cpu", 4, PRESETS))
    return {
        "same_bytes": len(set(digests)) == 1,
        "cancelled_at_step": stop.steps if cancelled else None,
        "cancel_left_a_file": (folder / "c.mp4").exists(),
        "video_seconds": seconds,
        "max_abs_from_cpu": round(float(abs(pictures - on_cpu).max()), 5),
        "measured": engine.measured(),
    }


def through_jobs(folder: Path, device: str) -> dict[str, Any]:
    """The job thread: a cancel by DELETE, then memory that runs out in two ways, and a video after each."""
    engine = Engine(folder / "models", device, 4, PRESETS)
    jobs = Jobs(folder / "work", lambda: engine, keep=600)
    jobs.start()
    first = _finished(jobs, jobs.submit(_order("first")))
    found: dict[str, Any] = {"first": first.status, "digest": _digest(first.path)}
    doomed = jobs.submit(_order("doomed"))
    while doomed.step_done < 1 and not doomed.terminal:
        time.sleep(0.001)
    jobs.delete(doomed.order.video_id)
    found["deleted"] = _finished(jobs, doomed).error
    found["deleted_at_step"] = doomed.step_done
    for name, starve in (("limit", _memory_limit), ("full_card", _full_card)):
        if device == "cpu":
            continue
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        with starve() as taken:
            starved = _finished(jobs, jobs.submit(_order(name)))
        error = starved.error and (starved.error[0], starved.error[1][:300])
        found[f"out_of_memory_{name}"] = {"taken_bytes": taken, "status": starved.status, "error": error}
        found[f"bytes_left_behind_{name}"] = torch.cuda.memory_allocated() - before
        engine._memory.forget()  # what was short is there again
        after = _finished(jobs, jobs.submit(_order(f"after {name}")))
        found[f"after_{name}"] = after.error or (after.status, _digest(after.path) == found["digest"])
    jobs.abort()
    return found


def _finished(jobs: Jobs, job: Job) -> Job:
    limit = time.monotonic() + _WAIT_SECONDS
    while not job.terminal and time.monotonic() < limit:
        time.sleep(0.01)
    return job


@contextmanager
def _memory_limit() -> Iterator[int]:
    """The allocator may not take anything more."""
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        yield 0
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def _full_card() -> Iterator[int]:
    """Nothing of the card is free: everything is held by tensors of ours."""
    held: list[Any] = []
    size = 1 << 33
    while size >= 1 << 21:
        try:
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    try:
        yield sum(tensor.numel() for tensor in held)
    finally:
        held.clear()
        torch.cuda.empty_cache()
