"""The lock of a data directory."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.lock import DataLock, RunningServer, running_server


def test_one_holder_who_says_where_it_is(tmp_path: Path):
    lock, other = DataLock(tmp_path / "data"), DataLock(tmp_path / "data")
    assert running_server(tmp_path / "data") is None
    assert lock.acquire()
    assert running_server(tmp_path / "data") == RunningServer(os.getpid())
    server = RunningServer(os.getpid(), "http://127.0.0.1:1", "secret")
    lock.announce(server)
    assert not other.acquire()
    assert running_server(tmp_path / "data") == server
    assert stat.S_IMODE((tmp_path / "data" / "lock").stat().st_mode) == 0o600
    lock.release()
    assert running_server(tmp_path / "data") is None
    assert "secret" not in (tmp_path / "data" / "lock").read_text()
    assert other.acquire()
    other.release()


def test_the_lock_dies_with_its_process(tmp_path: Path):
    code = (
        "import os, sys; from pathlib import Path; from gateway.lock import *\n"
        "lock = DataLock(Path(sys.argv[1])); assert lock.acquire()\n"
        "lock.announce(RunningServer(os.getpid(), 'http://gone', 'old')); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    assert running_server(tmp_path) is None
    lock = DataLock(tmp_path)
    assert lock.acquire()
    assert running_server(tmp_path) == RunningServer(os.getpid())
    lock.release()


def test_a_holder_that_has_not_written_yet_is_still_a_holder(tmp_path: Path):
    lock = DataLock(tmp_path)
    assert lock.acquire()
    (tmp_path / "lock").write_text("")
    assert running_server(tmp_path) == RunningServer(pid=0)
    lock.release()
    with pytest.raises(RuntimeError):
        lock.announce(RunningServer(1))
