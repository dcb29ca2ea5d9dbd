"""The queue's rules, with an engine that is held by the test."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from local_backend.errors import MediaError, OutOfMemory, WorkerError
from local_backend.jobs import Job, Jobs, Report
from local_backend.order import Order, read_order
from providers.contract import Operation
from providers.presets import all_presets


class HeldEngine:
    """Takes steps as long as `gate` is closed, then ends as `outcome` says."""

    slowest_step = 0.01
    loaded: list[str] = []

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.outcome: Exception | None = None

    def generate(self, order: Order, out: Path, report: Report) -> None:
        report.stage("denoise")
        step = 0
        while not self.gate.is_set():
            step += 1
            report.step(min(step, 99), 100)
            time.sleep(0.005)
        if self.outcome is not None:
            raise self.outcome
        out.write_bytes(b"video")

    def measured(self) -> dict[str, float | int]:
        return {}


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def jobs(tmp_path: Path, engine: HeldEngine) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path / "jobs", lambda: engine, keep=60)
    jobs.start()
    yield jobs
    jobs.abort()


def order(name: str, media: Path | None = None) -> Order:
    return read_order({"prompt": "x", "attempt_id": name}, Operation.GENERATE, media, None, all_presets())


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_one_runs_while_the_others_wait(jobs: Jobs, engine: HeldEngine) -> None:
    eventually(lambda: jobs.state == "ready")
    first, second = jobs.submit(order("a")), jobs.submit(order("b"))
    eventually(lambda: first.status == "in_progress")
    assert (jobs.state, second.status, second.stage_name) == ("busy", "queued", "load")
    assert jobs.submit(order("a")) is first
    engine.gate.set()
    eventually(lambda: second.status == "completed")
    assert [job.order.attempt_id for job in jobs.newest()] == ["b", "a"]
    assert second.path.read_bytes() == b"video"


def test_a_delete_stops_what_runs_and_drops_what_waits(jobs: Jobs, tmp_path: Path) -> None:
    running, waiting = jobs.submit(order("a")), jobs.submit(order("b"))
    eventually(lambda: running.step_done)
    assert jobs.delete(waiting.order.video_id)
    assert jobs.delete(running.order.video_id)
    assert not jobs.delete(running.order.video_id)
    assert jobs.newest() == []
    eventually(lambda: jobs.state == "ready")
    assert list((tmp_path / "jobs").iterdir()) == []
    assert running.error is not None
    assert running.error[0] == "cancelled"


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (MediaError("bad"), "input_media"),
        (OutOfMemory("8 GiB"), "out_of_memory"),
        (RuntimeError("secret path"), "provider_error"),
    ],
)
def test_a_failure_is_told_and_the_next_job_runs(
    jobs: Jobs, engine: HeldEngine, outcome: Exception, code: str
) -> None:
    engine.outcome = outcome
    engine.gate.set()
    failed = jobs.submit(order("a"))
    eventually(lambda: failed.terminal)
    assert failed.error is not None
    assert failed.error[0] == code
    assert "secret" not in failed.error[1]
    engine.outcome = None
    after = jobs.submit(order("b"))
    eventually(lambda: after.status == "completed")


def test_the_uploaded_file_is_taken_over_and_dropped(jobs: Jobs, engine: HeldEngine, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(b"x")
    job = jobs.submit(order("a", upload))
    assert not upload.exists()
    assert job.order.media is not None
    assert job.order.media.exists()
    engine.gate.set()
    eventually(lambda: job.terminal)
    assert not job.order.media.exists()


def test_too_many_waiting_is_a_429_and_draining_a_503(jobs: Jobs) -> None:
    eventually(lambda: jobs.submit(order("a")).status == "in_progress")
    for number in range(64):
        jobs.submit(order(str(number)))
    with pytest.raises(WorkerError) as full:
        jobs.submit(order("more"))
    assert (full.value.status, full.value.retry_after) == (429, 5)
    jobs.drain()
    with pytest.raises(WorkerError) as closed:
        jobs.submit(order("late"))
    assert (closed.value.status, jobs.state, jobs.idle) == (503, "draining", False)
    assert jobs.submit(order("a")).order.attempt_id == "a"


def test_finished_files_are_forgotten_in_time_and_in_number(jobs: Jobs, engine: HeldEngine) -> None:
    engine.gate.set()
    made: list[Job] = []
    for number in range(140):
        job = jobs.submit(order(str(number)))
        eventually(partial(getattr, job, "completed_at"))
        made.append(job)
    assert len(jobs.newest()) <= 129
    assert not made[0].folder.exists()
    assert made[-1].path.exists()
    made[-1].completed_at = int(time.time()) - 61
    jobs.sweep()
    assert jobs.find(made[-1].order.video_id) is None
    assert not made[-1].folder.exists()
