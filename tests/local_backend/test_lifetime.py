"""A worker ends with its parent, and tidily when asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from local_backend.__main__ import _token
from tests.local_backend.conftest import TOKEN, start_worker

PARENT = """
import os, subprocess, sys
worker = subprocess.Popen([sys.executable, "-m", "local_backend", *sys.argv[1:], f"--parent-pid={os.getpid()}"], stdout=subprocess.PIPE)
worker.stdout.readline()
print(worker.pid, flush=True)
worker.wait()
"""


def test_a_worker_is_gone_two_seconds_after_its_parent(models_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, f"--models-dir={models_dir}", f"--work-dir={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.is_running()
        parent.kill()
        started = time.monotonic()
        while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() - started < 2
            time.sleep(0.02)


def test_a_worker_whose_parent_is_another_does_not_start(models_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local_backend", f"--models-dir={models_dir}", f"--work-dir={tmp_path}"]
    done = subprocess.run([*command, "--parent-pid=1"], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (4, b"")


def test_without_a_token_only_loopback_is_served(models_dir: Path) -> None:
    command = [sys.executable, "-m", "local_backend", f"--models-dir={models_dir}", "--host=0.0.0.0"]
    environment = {name: value for name, value in os.environ.items() if name != "ONEREEL_WORKER_TOKEN"}
    done = subprocess.run(command, capture_output=True, timeout=30, check=False, env=environment)
    assert done.returncode == 1
    assert b"ONEREEL_WORKER_TOKEN" in done.stderr


def test_the_token_is_read_from_its_file_which_must_hold_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, empty = tmp_path / "token", tmp_path / "empty"
    path.write_text("from-the-file\n")
    empty.write_text(" \n")
    monkeypatch.setenv("ONEREEL_WORKER_TOKEN", "from-the-variable")
    assert _token(path) == "from-the-file"
    assert "ONEREEL_WORKER_TOKEN" not in os.environ
    for wrong, said in (
        (empty, "must hold the token"),
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(SystemExit, match=said):
            _token(wrong)


def test_it_answers_while_it_loads_and_ends_tidily_on_sigterm(models_dir: Path, tmp_path: Path) -> None:
    dead = tmp_path / "run-999999999"
    (dead / "video_1").mkdir(parents=True)
    process, port = start_worker(models_dir, tmp_path)
    try:
        assert not dead.exists()
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            assert client.get("/health").json() == {"status": "loading"}
            video = client.post("/v1/videos", json={"prompt": "x"}).json()
            assert (video["status"], video["stage"]) == ("queued", "load")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()
