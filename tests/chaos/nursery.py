"""Starts onereel processes in a third of a second: a parent that has everything imported forks each of them.

A child is a real onereel process, killed as one. The parent reads a JSON line per child on stdin (environment, port,
log), answers `pid`, and when the child has ended its wait status; then it takes the next.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from types import TracebackType
from typing import Any, Final, Self

from gateway.jobs import runner
from tests.chaos import process

_FIRST_NEEDED_WHEN_IT_STARTS: Final = (
    "aiohttp",
    "alembic.autogenerate",
    "alembic.command",
    "anyio._backends._asyncio",
    "asyncpg",
    "gateway.db_postgres",
    "gateway.db_sqlite",
    "gateway.schema",
    "litestar.plugins.pydantic",
    "mako.template",
    "pygments.formatters.html",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "stripe",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)

_PATIENCE: Final = 120.0
"""Seconds; the first order is read when everything is imported."""


class Nursery:
    """Has at most one child at a time."""

    def __init__(self) -> None:
        self._parent: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None

    def start(self, environment: dict[str, str], port: int, log: str) -> None:
        """Fork one process; the one before it has ended."""
        if self._parent is None or self._parent.stdin is None:
            raise RuntimeError("the nursery is closed")
        order = {"environment": environment, "port": port, "log": log}
        self._parent.stdin.write(json.dumps(order).encode() + b"\n")
        self.pid = self._line(_PATIENCE)
        if self.pid is None:
            raise RuntimeError("the nursery forked nothing")

    def ended(self, seconds: float) -> int | None:
        """Wait for the child's end: its exit code, negative for a signal. None if it lives on."""
        if self.pid is None:
            return None
        status = self._line(seconds)
        if status is None:
            return None
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
        """End the child."""
        if self.pid is not None:
            os.kill(self.pid, number)
            if self.ended(seconds) is None:
                os.kill(self.pid, signal.SIGKILL)
                self.ended(_PATIENCE)

    def _line(self, seconds: float) -> int | None:
        out = self._parent.stdout if self._parent is not None else None
        if out is None or not select.select([out], [], [], seconds)[0]:
            return None
        line = out.readline()
        if not line:
            raise RuntimeError("the nursery has died")
        return int(line)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.chaos.nursery"]
        pipe = subprocess.PIPE
        self._parent = subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)
        if self._parent is not None:
            for stream in (self._parent.stdin, self._parent.stdout):
                if stream is not None:
                    stream.close()
            self._parent.wait()
            self._parent = None


def _become(order: dict[str, Any]) -> None:
    """The child: another process from here on."""
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.environ.clear()
    os.environ.update(order["environment"])
    runner.__dict__["LONGEST_SLEEP"] = 0.1  # a second for each kill would be most of a run
    process.serve(order["port"])


def main() -> None:
    for name in _FIRST_NEEDED_WHEN_IT_STARTS:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin.buffer:
        pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                _become(json.loads(line))
                code = 0
            os._exit(code)
        os.write(1, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{status}\n".encode())


if __name__ == "__main__":
    main()
