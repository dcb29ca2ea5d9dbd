"""An update under load, one process after another, with a migration in between: no request fails, no video is lost.

The next release is this one with two changes: `processes.version` is called `build` there. Its first migration expands
(both columns, neither required), its second, of the release after, contracts.
"""

import contextlib
import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.crypto import new_key
from gateway.migrate import HEAD
from providers.testing import FakeUpstream
from tests.balancer import Balancer
from tests.redis import Redis
from tests.server import ADMIN_KEY, MODEL, ROOT, Server, upstream_table

EXPAND: Final = """
import sqlalchemy as sa
from alembic import op

revision = 'next1'
down_revision = '{head}'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column('processes', 'version', nullable=True)
    op.add_column('processes', sa.Column('build', sa.String(40)))
"""
CONTRACT: Final = """
from alembic import op

revision = 'next2'
down_revision = 'next1'
oldest_code = 'next1'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column('processes', 'version')
"""


def next_release(folder: Path, *, contracted: bool) -> Path:
    """A copy of the code with the changes of the next release, or of the one after."""
    for name in ("gateway", "providers", "billing", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    head = "next2" if contracted else "next1"
    change(folder / "gateway" / "migrate.py", f'HEAD = "{HEAD}"', f'HEAD = "{head}"')
    change(folder / "gateway" / "presence.py", 'Column("version"', 'Column("build"')
    change(folder / "gateway" / "presence.py", '"version": version', '"build": version')
    change(
        folder / "gateway" / "http" / "health.py", 'return {"status": "ok"}', f'return {{"status": "{head}"}}'
    )
    versions = folder / "migrations" / "versions"
    (versions / "next1.py").write_text(EXPAND.format(head=HEAD))
    if contracted:
        (versions / "next2.py").write_text(CONTRACT)
    return folder


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@dataclass
class Clients:
    """Threads that create and read without pause, over connections that stay open as long as the server lets them."""

    port: int
    made: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, count: int) -> Iterator[None]:
        threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in threads:
                thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.ended.is_set():
            try:
                video = self._call(connection, "POST", "/v1/videos", {"prompt": "a cat", "model": MODEL})
                self.made.append(video["id"])
                self._call(connection, "GET", f"/v1/videos/{video['id']}")
                self.counts[self._call(connection, "GET", "/health/live")["status"]] += 1
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                connection.close()

    def _call(self, connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise ValueError(f"{method} {path} answered {answer.status}: {content!r}")
        return json.loads(content)


def onereel(code: Path, *arguments: str) -> list[str]:
    """The command of a release: its code comes before ours."""
    start = f"import sys; sys.path.insert(0, {str(code)!r}); from gateway.cli import main; main()"
    return [sys.executable, "-P", "-c", start, *arguments]


class Release:
    """Starts servers of one release."""

    def __init__(self, code: Path, env: dict[str, str], config: str) -> None:
        self._code, self._env, self._config = code, env, config

    def server(self, role: str) -> Server:
        return Server(
            env={**self._env, "PYTHONPATH": str(self._code)},
            config=self._config,
            command=onereel(self._code, "serve", "--roles", role),
        ).start(ready=False)

    def migrate(self, folder: Path) -> None:
        environment = Server(env={**self._env, "PYTHONPATH": str(self._code)}, data_dir=folder).environment()
        done = subprocess.run(
            onereel(self._code, "db", "upgrade"), env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def roll(balancer: Balancer, before: Server, after: Server) -> None:
    """The new one first, then the old one goes, as a Deployment with maxUnavailable 0 does it."""
    after.wait_ready()
    balancer.backends.add(after.port)
    deadline = time.monotonic() + 10
    while after.port not in balancer.ready:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert before.stop() == 0
    balancer.backends.discard(before.port)


@pytest.mark.timeout(300)
def test_an_update_fails_no_request_and_loses_no_video(postgres_url: str, tmp_path: Path) -> None:
    with FakeUpstream(poll_after_ms=100) as upstream, Redis() as redis, contextlib.ExitStack() as stack:
        env = {
            "ONEREEL_DATABASE_URL": postgres_url,
            "ONEREEL_REDIS_URL": redis.url,
            "ONEREEL_STORAGE_URL": f"file://{tmp_path / 'storage'}",
            "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new_key()}"]',
            "ONEREEL_DRAIN_SECONDS": "1.5",
        }
        config = upstream_table(upstream.base_url, submit_safety="key", max_concurrent=20)
        codes = [
            ROOT,
            next_release(tmp_path / "next", contracted=False),
            next_release(tmp_path / "later", contracted=True),
        ]
        releases = [Release(code, env, config) for code in codes]
        balancer = stack.enter_context(Balancer())

        servers: list[Server] = []

        def started(release: Release, role: str) -> Server:
            server = release.server(role)
            servers.append(server)
            stack.callback(server.__exit__, None, None, None)
            return server

        apis = [started(releases[0], "api") for _ in range(2)]
        jobs = started(releases[0], "jobs")
        for server in (*apis, jobs):
            server.wait_ready()
        balancer.backends.update(server.port for server in apis)
        time.sleep(0.5)
        clients = Clients(balancer.port)
        with clients.running(3):
            for release in releases[1:]:
                release.migrate(tmp_path / "migration")
                time.sleep(0.5)  # the old ones go on with the new schema
                for n, api in enumerate(apis):
                    apis[n] = started(release, "api")
                    roll(balancer, api, apis[n])
                if release is releases[1]:  # an old process that is started anew, or a rollback
                    started(releases[0], "api").wait_ready()
                job = started(release, "jobs")
                roll(balancer, jobs, job)
                balancer.backends.discard(job.port)
                jobs = job
            time.sleep(0.5)
        too_old = started(releases[0], "api")
        assert too_old.process is not None
        assert too_old.process.wait(60) == 1
        assert "Install the newer release" in too_old.log_tail()
        assert not clients.failures, errors(servers)
        assert not balancer.refused
        assert set(clients.counts) == {"ok", "next1", "next2"}  # all three served
        assert len(clients.made) > 100
        assert completed(apis[0], clients.made, 60) == len(clients.made)
        assert upstream.stats()["jobs"] == len(clients.made)  # each made once


def errors(servers: list[Server]) -> str:
    """What they logged of failed requests and the like."""
    lines = [line for server in servers for line in server.log_tail(500_000).splitlines()]
    return "\n".join(line[:4000] for line in lines if '"level": "error"' in line)


def completed(server: Server, ids: list[str], seconds: float) -> int:
    """How many have completed, at the latest after so long."""
    wanted, deadline = set(ids), time.monotonic() + seconds
    while wanted and time.monotonic() < deadline:
        for each in sorted(wanted):
            if server.call("GET", f"/v1/videos/{each}")["status"] != "completed":
                break
            wanted.discard(each)
        time.sleep(0.1)
    return len(ids) - len(wanted)
