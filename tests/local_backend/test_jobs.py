"""The queue's rules, with an engine that is held by the test."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from local_backend.errors import MediaError, OutOfMemory, WorkerError
from local_backend.job import Job, patience
from local_backend.jobs import Jobs
from local_backend.order import Order, read_order
from providers.contract import MediaRole, Operation
from providers.presets import all_presets
from tests.local_backend.conftest import facts
from tests.local_backend.held import HeldEngine

SMALL = all_presets()["onereel/demo"].model_copy(update={"sizes": ("64x64",), "default_size": None})
"""Its files are written in moments."""


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def jobs(tmp_path: Path, engine: HeldEngine) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path / "jobs", lambda: engine, keep=60)
    jobs.start()
    yield jobs
    jobs.abort()


def order(name: str, picture: Path | None = None, prompt: str = "x") -> Order:
    media = {MediaRole.FIRST_FRAME: (picture,)} if picture else {}
    return read_order(
        {"prompt": prompt, "attempt_id": name}, Operation.GENERATE, media, None, {SMALL.id: SMALL}
    )


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
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
    assert facts(second.path) == (64, 64, 24, 4)


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
    kept = job.order.file(MediaRole.FIRST_FRAME)
    assert kept is not None
    assert kept.exists()
    engine.gate.set()
    eventually(lambda: job.terminal)
    assert not kept.exists()


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


def test_finished_files_are_forgotten_in_time_and_in_number(
    jobs: Jobs, engine: HeldEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_backend.jobs._MAX_FINISHED", 3)
    engine.gate.set()
    made: list[Job] = []
    for number in range(6):
        job = jobs.submit(order(str(number)))
        eventually(partial(getattr, job, "completed_at"))
        made.append(job)
    assert len(jobs.newest()) <= 4
    assert not made[0].folder.exists()
    assert made[-1].path.exists()
    made[-1].completed_at = int(time.time()) - 61
    jobs.sweep()
    assert jobs.find(made[-1].order.video_id) is None
    assert not made[-1].folder.exists()


def test_those_that_are_alike_are_made_in_one_call(tmp_path: Path, engine: HeldEngine) -> None:
    jobs = Jobs(tmp_path / "jobs", lambda: engine, keep=60, batch=3)
    jobs.start()
    eventually(lambda: jobs.submit(order("a")).status == "in_progress")
    later = [jobs.submit(order(name)) for name in "bcde"]
    cancelled = later[1]
    jobs.delete(cancelled.order.video_id)
    engine.gate.set()
    eventually(lambda: all(job.terminal for job in later if job is not cancelled))
    assert engine.calls == [["a"], ["b", "d", "e"]]
    assert all(facts(job.path) == (64, 64, 24, 4) for job in later if job is not cancelled)
    jobs.abort()


def test_one_of_a_batch_can_be_cancelled_and_the_others_go_on(tmp_path: Path, engine: HeldEngine) -> None:
    jobs = Jobs(tmp_path / "jobs", lambda: engine, keep=60, batch=3)
    first, second = (jobs.submit(order(name)) for name in "ab")
    jobs.start()
    eventually(lambda: first.step_done > 2 and second.step_done > 2)
    jobs.delete(first.order.video_id)
    passed = second.step_done
    eventually(lambda: second.step_done > passed)
    engine.gate.set()
    eventually(lambda: second.status == "completed")
    assert (first.error or ("",))[0] == "cancelled"
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [second.order.video_id]
    jobs.abort()


def test_what_cannot_fit_is_refused_up_front(jobs: Jobs) -> None:
    eventually(lambda: jobs.state == "ready")
    with pytest.raises(WorkerError, match="too little memory for onereel/demo: it is too large") as refused:
        jobs.submit(order("a", prompt="huge"))
    assert (refused.value.status, refused.value.code, jobs.newest()) == (400, "out_of_memory", [])


def test_the_next_clip_is_made_while_a_file_is_written(jobs: Jobs, engine: HeldEngine) -> None:
    engine.pen.clear()
    engine.gate.set()
    first, second = jobs.submit(order("a")), jobs.submit(order("b"))
    eventually(lambda: len(engine.calls) == 2 and second.stage_name == "mux")
    assert (first.status, second.status) == ("in_progress", "in_progress")
    engine.pen.set()
    eventually(lambda: second.status == "completed")
    assert first.status == "completed"


def test_time_left_and_progress_follow_what_was_measured(jobs: Jobs, engine: HeldEngine) -> None:
    first = jobs.submit(order("a"))
    eventually(lambda: first.step_done > 20)
    assert first.eta_seconds is None  # nothing was measured yet
    engine.gate.set()
    eventually(lambda: first.status == "completed")
    assert first.stage_seconds.keys() == {"denoise", "mux"}
    engine.gate.clear()
    second = jobs.submit(order("b"))
    eventually(lambda: second.eta_seconds)
    before = second.eta_seconds
    eventually(lambda: second.eta_seconds is not None and before is not None and second.eta_seconds < before)
    engine.gate.set()
    eventually(lambda: second.status == "completed")
    assert (second.progress, second.eta_seconds) == (100, None)


@pytest.mark.parametrize(
    ("stage", "step", "seconds"),
    [
        ("load", 0, 1800),
        ("encode", 0, 120),
        ("denoise", 0, 600),
        ("denoise", 1, 200),
        ("decode", 9, 600),
        ("mux", 9, 200),
    ],
)
def test_what_is_slow_by_nature_is_not_taken_for_stuck(
    tmp_path: Path, stage: str, step: int, seconds: float
) -> None:
    job = Job(order("a"), tmp_path, keep=60)
    job.stage_name, job.step_done = stage, step
    assert patience(job, 20 if step else 1) == seconds
