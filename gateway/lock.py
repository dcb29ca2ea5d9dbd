"""One server per data directory: a lock file that also says where the server is."""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_WAIT_SECONDS: Final = 0.5  # a command that only looks holds the lock for a moment


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Who holds the lock. `url` is empty until it listens; `control_token` is an operator token while it runs."""

    pid: int
    url: str = ""
    control_token: str = ""


class DataLock:
    """The lock of one data directory. It ends with the process, however that ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False when another process has it. OSError if the directory cannot be written."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _WAIT_SECONDS
        while not _flock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(file)
                return False
            time.sleep(0.05)
        os.fchmod(file, 0o600)
        self._file = file
        self.announce(RunningServer(os.getpid()))
        return True

    def announce(self, server: RunningServer) -> None:
        """Write down who holds the lock; readers see the old text or the new."""
        if self._file is None:
            raise RuntimeError("the lock is not held")
        text = json.dumps(asdict(server)).encode() + b"\n"
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))

    def release(self) -> None:
        """Give the lock back; no error if it is not held."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


def running_server(data_dir: Path) -> RunningServer | None:
    """Say which server works in the data directory, None if there is none."""
    try:
        file = os.open(data_dir / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        if _flock(file, fcntl.LOCK_SH):
            return None
        return RunningServer(**json.loads(os.read(file, 65536)))
    except (ValueError, TypeError):
        return RunningServer(pid=0)  # it has the lock but has not written yet
    finally:
        os.close(file)


def _flock(file: int, mode: int) -> bool:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
