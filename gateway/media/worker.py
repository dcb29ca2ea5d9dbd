"""The media worker: `python -m gateway.media.worker`, one task per line of JSON on stdin, one answer per line.

It decodes what strangers uploaded, so it holds no secret and lives under limits: memory for the process,
processor seconds for each task, bytes for each file written. It ends when its stdin does.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gateway.media import MediaError
from gateway.media.decode import Bounds, probe
from gateway.media.mark import mark
from gateway.media.previews import spritesheet, thumbnail

_MEMORY: Final = 3 * 1024 * 1024 * 1024
_OUTPUT: Final = 64 * 1024 * 1024
_LONGEST_OUTPUT: Final = 4 * 1024 * 1024 * 1024  # the hard limit, for tasks that name their own


def main() -> None:
    """Serve tasks until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT, _LONGEST_OUTPUT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the gateway's to handle
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        task = json.loads(line)
        _limit_cpu(task["cpu_seconds"])
        _limit_output(task.get("output_bytes", _OUTPUT))
        answers.write(json.dumps(_answer(task)) + "\n")
        answers.flush()


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    try:
        result = _TASKS[task["name"]](task, Bounds(**task["bounds"]))
    except MediaError as error:
        return {"error": str(error), "rss": _rss_bytes()}
    except MemoryError:
        return {"error": "the file needs too much memory to decode", "rss": _rss_bytes()}
    except OSError as error:
        return {"failure": str(error), "rss": _rss_bytes()}
    return {"result": result, "rss": _rss_bytes()}


def _probe(task: dict[str, Any], bounds: Bounds) -> dict[str, Any]:
    return asdict(probe(Path(task["path"]), bounds, verify=task["verify"]))


def _thumbnail(task: dict[str, Any], bounds: Bounds) -> None:
    thumbnail(Path(task["path"]), Path(task["out"]), bounds)


def _spritesheet(task: dict[str, Any], bounds: Bounds) -> None:
    spritesheet(Path(task["path"]), Path(task["out"]), bounds)


def _mark(task: dict[str, Any], bounds: Bounds) -> None:
    parent = os.getppid()

    def stop_alone() -> None:
        if os.getppid() != parent:  # the gateway was killed: nobody waits for the file
            raise SystemExit(1)

    mark(Path(task["path"]), Path(task["out"]), task["text"], bounds, stop_alone)


_TASKS: Final[dict[str, Callable[[dict[str, Any], Bounds], Any]]] = {
    "probe": _probe,
    "thumbnail": _thumbnail,
    "spritesheet": _spritesheet,
    "mark": _mark,
}


def _limit_cpu(seconds: int) -> None:
    """Let the kernel end the process if it works longer than this on one task."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, hard))


def _limit_output(size: int) -> None:
    """Let no file of this task grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(size, _LONGEST_OUTPUT), _LONGEST_OUTPUT))


def _rss_bytes() -> int:
    """Resident memory now. Not ru_maxrss where that can be helped: a child inherits its parent's peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
