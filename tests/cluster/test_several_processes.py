"""API and job processes of their own on one PostgreSQL: what Redis quickens, and what goes on without it."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.crypto import new_key
from providers.testing import FakeUpstream
from tests.redis import Redis
from tests.server import MODEL, Server, serve_command, upstream_table

pytestmark = pytest.mark.timeout(180)


def until(check: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


class Fleet:
    """Servers of one installation."""

    def __init__(self, database: str, folder: Path, upstream: FakeUpstream, **env: str) -> None:
        self._stack = contextlib.ExitStack()
        self._env = {
            "ONEREEL_DATABASE_URL": database,
            "ONEREEL_STORAGE_URL": f"file://{folder / 'storage'}",
            "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new_key()}"]',
            **env,
        }
        self._config = upstream_table(upstream.base_url)

    def server(self, *options: str, **env: str) -> Server:
        server = Server(
            env={**self._env, **env}, config=self._config, command=[*serve_command(), *options]
        ).start(ready=False)
        self._stack.callback(server.__exit__, None, None, None)
        return server

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as upstream:
        yield upstream


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture
def fleet(
    postgres_url: str, tmp_path: Path, upstream: FakeUpstream, redis: Redis
) -> Iterator[tuple[Server, Server, Server]]:
    """Two servers of the API and one of jobs, with Redis."""
    found = Fleet(postgres_url, tmp_path, upstream, ONEREEL_REDIS_URL=redis.url)
    servers = (
        found.server("--roles", "api"),
        found.server("--roles", "api"),
        found.server("--roles", "jobs"),
    )
    try:
        for server in servers:
            server.wait_ready()
        yield servers
    finally:
        found.close()


def create(server: Server, key: str | None = None) -> tuple[int, Any]:
    return server.request("POST", "/v1/videos", {"prompt": "a cat", "model": MODEL}, key=key)


def metric(server: Server, name: str) -> float | None:
    with urllib.request.urlopen(f"{server.base_url}/metrics", timeout=10) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else None


def redis_up(server: Server, value: float) -> Callable[[], bool]:
    return lambda: metric(server, "onereel_redis_up") == value


def seconds_to_submit(server: Server, upstream: FakeUpstream) -> float:
    before = upstream.stats()["calls"].get("create", 0)
    began = time.monotonic()
    assert create(server)[0] == 200
    until(lambda: upstream.stats()["calls"].get("create", 0) > before)
    return time.monotonic() - began


def streamed(server: Server, video_id: str) -> list[str]:
    """The names of the events of a stream, to its end."""
    request = urllib.request.Request(
        f"{server.base_url}/v1/videos/{video_id}/events",
        headers={"Authorization": f"Bearer {server.admin_key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]


def accepted(servers: tuple[Server, ...], key: str, each: int) -> int:
    return sum(create(server, key)[0] == 200 for _ in range(each) for server in servers)


def refused_after(one: Server, other: Server) -> float:
    """How long the other server believes a key that the first revoked, in seconds."""
    project = one.project_id()
    made = one.call("POST", f"/v1/organization/projects/{project}/api_keys", {"name": "short"})
    for _ in range(2):
        assert other.request("GET", "/v1/videos", key=made["value"])[0] == 200
    time.sleep(0.1)
    one.call("DELETE", f"/v1/organization/projects/{project}/api_keys/{made['id']}")
    began = time.monotonic()
    until(lambda: other.request("GET", "/v1/videos", key=made["value"])[0] == 401, 3)
    return time.monotonic() - began


def test_what_redis_quickens_goes_on_without_it(
    fleet: tuple[Server, Server, Server], upstream: FakeUpstream, redis: Redis
) -> None:
    one, two, jobs = fleet
    assert jobs.request("GET", "/v1/videos")[0] == 404  # it serves its health and metrics alone
    for server in fleet:
        until(redis_up(server, 1))

    # creates wake the job process, its steps wake the stream of another process, a key ends everywhere at once
    assert sorted(seconds_to_submit(one, upstream) for _ in range(5))[2] < 0.5
    upstream.config(poll_after_ms=700)
    video = create(one)[1]
    assert streamed(two, video["id"])[-1] == "video.completed"
    upstream.config(poll_after_ms=50)
    assert sorted(refused_after(one, two) for _ in range(3))[1] < 0.5

    # both API processes count as one
    limited = one.make_key("limited", requests_per_minute=10)
    assert accepted((one, two), limited, 8) == 10

    redis.kill()
    for server in fleet:
        until(redis_up(server, 0))
    assert "redis_lost" in one.log_tail(100_000)
    assert seconds_to_submit(one, upstream) < 5
    assert refused_after(one, two) < 2
    for server in (one, two):  # each looks every five seconds
        until(lambda server=server: metric(server, "onereel_api_processes") == 2)  # type: ignore[misc]
    limited = one.make_key("limited too", requests_per_minute=10)
    assert accepted((one, two), limited, 8) == 10  # five each
    video = create(one)[1]
    assert streamed(two, video["id"])[-1] == "video.completed"

    redis.start()
    for server in fleet:
        until(redis_up(server, 1))
    assert "redis_found" in one.log_tail(100_000)
    limited = one.make_key("limited again", requests_per_minute=10)
    assert accepted((one, two), limited, 8) == 10

    redis.freeze()  # as a machine that hangs: connected, silent
    began = time.monotonic()
    assert accepted((one, two), one.make_key("patient", requests_per_minute=1000), 10) == 20
    assert time.monotonic() - began < 10
    for server in fleet:
        until(redis_up(server, 0))
    redis.thaw()
    for server in fleet:
        until(redis_up(server, 1))
    assert redis.command("FLUSHALL") == "+OK"
    assert create(one)[0] == 200


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_several_processes_behind_one_port(postgres_url: str, tmp_path: Path, upstream: FakeUpstream) -> None:
    fleet = Fleet(postgres_url, tmp_path, upstream)
    server = fleet.server("--workers", "2")
    try:
        server.wait_ready()
        first = until(lambda: len(found := children(server.pid)) == 3 and found)
        until(lambda: "onereel listens on" in server.log_tail())
        statuses: list[int] = []
        ended = threading.Event()

        def ask() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):  # a connection of the one that was killed
                    statuses.append(create(server)[0])

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: not alive(pid))  # type: ignore[misc]
            time.sleep(0.5)
        until(lambda: len(children(server.pid)) == 3)
        assert not set(first) & set(children(server.pid))
        ended.set()
        for thread in asking:
            thread.join()
        assert len(statuses) > 10
        assert set(statuses) == {200}
        videos = server.call("GET", "/v1/videos?limit=100")["data"]
        until(lambda: server.call("GET", f"/v1/videos/{videos[0]['id']}")["status"] == "completed", 40)
        left = children(server.pid)
        assert server.stop() == 0
        assert not any(alive(pid) for pid in left)

        server.start()
        left = until(lambda: len(found := children(server.pid)) == 3 and found)
        server.kill()
        until(lambda: not any(alive(pid) for pid in left), 20)
    finally:
        fleet.close()


@pytest.mark.parametrize(
    ("options", "env", "message"),
    [
        (["--workers", "2"], {}, "needs PostgreSQL"),
        (["--roles", "api,cooking"], {}, "roles.1: Input should be 'api' or 'jobs'"),
        (
            ["--roles", "jobs", "--workers", "2"],
            {"ONEREEL_DATABASE_URL": "postgresql://127.0.0.1/x", "ONEREEL_LOCAL__ENABLED": "true"},
            "cannot share one local worker",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    options: list[str], env: dict[str, str], message: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "ONEREEL_DATA_DIR": str(tmp_path), "ONEREEL_LOCAL__ENABLED": "false", **env}
    done = subprocess.run(
        [*serve_command(), "--port", "0", *options],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert message in done.stderr


def test_a_server_that_drains_serves_on_and_says_that_it_goes(
    postgres_url: str, tmp_path: Path, upstream: FakeUpstream
) -> None:
    upstream.config(poll_after_ms=20_000)
    fleet = Fleet(postgres_url, tmp_path, upstream)
    server = fleet.server(ONEREEL_DRAIN_SECONDS="2")
    try:
        server.wait_ready()
        video = create(server)[1]
        names: list[str] = []
        stream = threading.Thread(target=lambda: names.extend(streamed(server, video["id"])))
        stream.start()
        time.sleep(0.5)
        assert server.process is not None
        server.process.terminate()
        until(lambda: server.request("GET", "/health/ready")[0] == 503)
        status, _ = create(server)
        assert status == 200
        with urllib.request.urlopen(f"{server.base_url}/health/live", timeout=5) as answer:
            assert answer.headers["connection"] == "close"
        assert server.process.wait(15) == 0
        stream.join(5)
        assert not stream.is_alive()  # it ended in order, to be resumed elsewhere
        assert names
        assert set(names) == {"video.updated"}
    finally:
        fleet.close()
