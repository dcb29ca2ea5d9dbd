"""Several processes behind one port: forked, watched, started again when they die, stopped together."""

import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 0.1
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
_SETTLED_SECONDS: Final = 30.0  # a process that lived this long is started again at once


@dataclass
class Child:
    """One of the processes. `work` runs in it, and is given what to call once it serves."""

    name: str
    work: Callable[[Callable[[], None]], None]
    pid: int | None = None
    started: float = 0.0
    due: float = 0.0
    delay: float = field(default=_FIRST_DELAY)


class Supervisor:
    """Keeps its children running until SIGTERM or SIGINT, which it passes on; SIGKILL after `grace` seconds.

    It forks: call it before there is a thread or an event loop.
    """

    def __init__(self, children: Sequence[Child], grace: float) -> None:
        self._children = children
        self._grace = grace
        self._serving: set[int] = set()
        self._stop_by: float | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def run(self, serving: Callable[[], None], stopping: Callable[[], None]) -> bool:
        """Until all have ended. Calls `serving` once, when all serve, and `stopping` when they shall end.

        False if one of them ended before all served: then the others end too.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        all_served = False
        while True:
            self._reap(give_up=not all_served)
            if self._stop_by is not None:
                stopping()
                if not any(child.pid for child in self._children):
                    return all_served
                self._end_slow_ones()
            else:
                self._start_due()
            if not all_served and self._all_serve():
                all_served = True
                serving()
            time.sleep(_LOOK_SECONDS)

    def _start_due(self) -> None:
        for child in self._children:
            if child.pid is None and child.due <= time.monotonic():
                self._start(child)

    def _start(self, child: Child) -> None:
        child.started = time.monotonic()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            child.pid = pid
            return
        os.close(self._read)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        status = 1
        try:
            child.work(lambda: _say_serving(self._write))
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self, *, give_up: bool) -> None:
        for child in self._children:
            if child.pid is None:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            child.pid = None
            self._serving.discard(pid)
            if self._stop_by is not None:
                continue
            if give_up:
                self._stop()
                continue
            if time.monotonic() - child.started > _SETTLED_SECONDS:
                child.delay = _FIRST_DELAY
            child.due = time.monotonic() + child.delay
            log.warning(
                "process_lost",
                process=child.name,
                pid=pid,
                status=os.waitstatus_to_exitcode(status),
                restart_in_seconds=child.delay,
            )
            child.delay = min(_LONGEST_DELAY, child.delay * 2)

    def _all_serve(self) -> bool:
        try:
            said = os.read(self._read, 4096)
        except BlockingIOError:
            said = b""
        self._serving.update(int(line) for line in said.split())
        return all(child.pid in self._serving for child in self._children)

    def _stop(self) -> None:
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self._grace
        self._signal(signal.SIGTERM)

    def _end_slow_ones(self) -> None:
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            log.warning("process_killed", processes=[c.name for c in self._children if c.pid])
            self._signal(signal.SIGKILL)
            self._stop_by = math.inf

    def _signal(self, number: int) -> None:
        for child in self._children:
            if child.pid is not None:
                os.kill(child.pid, number)  # not reaped yet: the id is still its own


def _say_serving(pipe: int) -> None:
    os.write(pipe, b"%d\n" % os.getpid())
