"""An installation to measure: PostgreSQL that syncs, Redis, and processes for the API and for jobs, with their counters."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
import psutil

from gateway.crypto import new_key
from tests.postgres import create_database, execute, postgres
from tests.redis import Redis
from tests.server import Server, serve_command

Figures = dict[str, float]
"""Name of a counter to its value."""

_SUMS: Final = """
SELECT tup_inserted AS inserted, tup_updated AS updated, tup_deleted AS deleted,
    (SELECT wal_fpi FROM pg_stat_wal) AS page_images,
    (SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal') AS syncs
FROM pg_stat_database WHERE datname = current_database()
"""
_PLACES: Final = """
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal_bytes,
    pg_database_size(current_database())::float8 AS kept_bytes
"""
_ROOM: Final = {"max_connections": "300", "max_wal_size": "'4GB'", "shared_buffers": "'512MB'"}
"""What every operator would set; the rest is PostgreSQL's default."""


class Look:
    """One lasting connection that watches a database, so that looking costs the server as little as can be."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._conn = self._runner.run(asyncpg.connect(url))
        self.pid = int(self.value("SELECT pg_backend_pid()"))

    def value(self, statement: str) -> Any:
        """The first column of the first row."""
        return self._runner.run(self._conn.fetchval(statement))

    def rows(self, statement: str) -> list[Any]:
        """All rows."""
        return list(self._runner.run(self._conn.fetch(statement)))

    def sums(self) -> Figures:
        """Rows, commits and syncs so far; a process tells of its own up to ten seconds late."""
        return {name: float(value) for name, value in self.rows(_SUMS)[0].items()}

    def places(self) -> Figures:
        """Bytes of WAL written so far, and of the database now."""
        return dict(self.rows(_PLACES)[0].items())

    def close(self) -> None:
        self._runner.run(self._conn.close())
        self._runner.close()


class Fleet:
    """PostgreSQL with fsync, Redis, `onereel serve --roles api --workers N` and one `--roles jobs`, apart.

    Storage is a folder that they share. Use it in a `with`: servers start with `start_api` and `start_jobs`.
    """

    def __init__(self, config: str, *, redis: bool = True) -> None:
        self._config = config
        self._stack = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="onereel-fleet-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        server = self._stack.enter_context(postgres(_ROOM))
        self._server = server
        self.url = create_database(server, "measured")
        self.redis = self._stack.enter_context(Redis()) if redis else None
        self.look = Look(self.url)
        self._stack.callback(self.look.close)
        self._servers: dict[str, Server] = {}
        self._env = {
            "ONEREEL_DATABASE_URL": self.url,
            "ONEREEL_STORAGE_URL": f"file://{self.folder / 'storage'}",
            "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new_key()}"]',
            "ONEREEL_LOG_LEVEL": "WARNING",
            **({"ONEREEL_REDIS_URL": self.redis.url} if self.redis else {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._servers):
            self.stop(name)
        self._stack.close()

    def start_api(self, workers: int = 1, name: str = "api") -> Server:
        """Start the processes that serve the API."""
        command = [*serve_command(), "--roles", "api", "--workers", str(workers)]
        return self._start(name, command, {})

    def start_jobs(self, env: Mapping[str, str] | None = None) -> Server:
        """Start one process that runs jobs."""
        return self._start("jobs", [*serve_command(), "--roles", "jobs"], env or {})

    def _start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Server:
        server = Server(
            config=self._config,
            env={**self._env, **env},
            command=command,
            data_dir=self.folder / name.replace(" ", "-"),
        )
        self._servers[name] = server.start()
        return server

    def stop(self, name: str) -> None:
        """End `api` or `jobs`."""
        self._servers.pop(name).stop(timeout=30)

    def __contains__(self, name: str) -> bool:
        return name in self._servers

    def __getitem__(self, name: str) -> Server:
        return self._servers[name]

    @property
    def log(self) -> Path:
        """What PostgreSQL writes when it is told to log."""
        return Path(str(self.look.value("SHOW data_directory")), "log")

    def tell_postgres(self, setting: str, value: str) -> None:
        """Change a setting that needs no restart."""
        execute(self._server, f"ALTER SYSTEM SET {setting} = {value}")
        execute(self._server, "SELECT pg_reload_conf()")

    def cpu(self) -> Figures:
        """Seconds of CPU so far, by part: `media` are the processes that look at files; our own look is left out."""
        found = {"postgres": _tree_seconds(self._postmaster(), without=self.look.pid)}
        if "api" in self._servers:
            found["api"] = _tree_seconds(self["api"].pid)
        if "jobs" in self._servers:
            first = psutil.Process(self["jobs"].pid)
            times = first.cpu_times()
            found["jobs"] = _own_seconds(first.pid)
            children = (_tree_seconds(each.pid) for each in first.children())  # all of them are media workers
            found["media"] = times.children_user + times.children_system + sum(children)
        if self.redis:
            found["redis"] = _tree_seconds(self.redis.pid)
        return found

    def counters(self) -> Figures:
        """Seconds of CPU and bytes of WAL so far."""
        return self.cpu() | self.look.places()

    def _postmaster(self) -> int:
        return int(Path(str(self.look.value("SHOW data_directory")), "postmaster.pid").read_text().split()[0])


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Keep a server's processes from running."""
    tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    for process in tree:
        process.suspend()
    try:
        yield
    finally:
        for process in tree:
            process.resume()


def _tree_seconds(pid: int, *, without: int = 0) -> float:
    """Seconds of CPU of a process, of its live descendants and of those that have ended."""
    first = psutil.Process(pid)
    total = 0.0
    for process in (first, *first.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            times = process.cpu_times()
            ended = times.children_user + times.children_system
            total += ended + (0.0 if process.pid == without else _own_seconds(process.pid))
    return float(total)


def _own_seconds(pid: int) -> float:
    """Of all threads that live, in nanoseconds' resolution: clock ticks would lose most of what a backend does."""
    tasks = Path("/proc", str(pid), "task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks) / 1e9
