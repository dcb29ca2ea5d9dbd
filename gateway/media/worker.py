"""The media worker: `python -m gateway.media.worker`, one task per line of JSON on stdin, one answer per line.

It decodes what strangers uploaded, so it holds no secret and lives under limits: memory for the process,
processor seconds for each task, bytes for each file written. It ends when its stdin does. What it is to sign it asks
the gateway to sign: a line {"to_sign"} out, a line {"signature"} in, both base64, in the midst of a task.
"""

import json
import os
import resource
import signal
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gateway.media import MediaError
from gateway.media.decode import Bounds, probe
from gateway.media.invisible import load
from gateway.media.mark import Marks, mark
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
    sys.stdout = sys.stderr
    for line in sys.stdin:
        task = json.loads(line)
        _limit_cpu(task["cpu_seconds"])
        _limit_output(task.get("output_bytes", _OUTPUT))
        _say(_answer(task))


def _say(message: dict[str, Any]) -> None:
    """One line to the gateway, whatever prints to stdout meanwhile."""
    if sys.__stdout__ is None:
        raise AssertionError("the worker was started with pipes")
    sys.__stdout__.write(json.dumps(message) + "\n")
    sys.__stdout__.flush()


def _signature(data: bytes) -> bytes:
    """What the gateway signs for us; empty when it cannot."""
    _say({"to_sign": b64encode(data).decode()})
    return b64decode(json.loads(sys.stdin.readline())["signature"])


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


def _mark(task: dict[str, Any], bounds: Bounds) -> bool:
    parent = os.getppid()

    def stop_alone() -> None:
        if os.getppid() != parent:  # the gateway was killed: nobody waits for the file
            raise SystemExit(1)

    plug_in, payload = task["invisible"], bytes.fromhex(task["payload"])
    marks = Marks(task["text"], None if plug_in is None else load(plug_in, payload))
    return mark(Path(task["path"]), Path(task["out"]), marks, bounds, stop_alone)


def _sign(task: dict[str, Any], _bounds: Bounds) -> None:
    from gateway.media.sign import sign  # noqa: PLC0415  (a library of 23 MB that most workers never need)

    parent = task.pop("parent")
    sign(
        Path(task["path"]),
        Path(task["out"]),
        task["definition"],
        _signature,
        media_type=task["media_type"],
        chain=task["chain"],
        algorithm=task["algorithm"],
        timestamp_url=task["timestamp_url"],
        parent=None if parent is None else Path(parent),
        parent_type=task["parent_type"],
    )


def _credentials(task: dict[str, Any], _bounds: Bounds) -> dict[str, Any] | None:
    from gateway.media.credentials import read_credentials  # noqa: PLC0415  (as above)

    return read_credentials(Path(task["path"]), task["media_type"], task["roots"])


_TASKS: Final[dict[str, Callable[[dict[str, Any], Bounds], Any]]] = {
    "probe": _probe,
    "thumbnail": _thumbnail,
    "spritesheet": _spritesheet,
    "mark": _mark,
    "sign": _sign,
    "credentials": _credentials,
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
