"""The worker's life is its parent's: it may never outlast the gateway that started it."""

import ctypes
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

_WATCH_SECONDS = 0.25
_PR_SET_PDEATHSIG = 1


def follow_parent(parent: int, work_dir: Path) -> None:
    """End this process within 2 s of its parent's death: at once by the kernel on Linux, by watching elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(4)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        shutil.rmtree(work_dir, ignore_errors=True)
        os._exit(4)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def own_folder(work_dir: Path) -> Path:
    """A folder of this process alone; those of processes that died without tidying up are removed."""
    work_dir.mkdir(parents=True, exist_ok=True)
    for folder in work_dir.glob("run-*"):
        pid = folder.name.removeprefix("run-")
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    own = work_dir / f"run-{os.getpid()}"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    return own


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
