"""Two servers on one PostgreSQL agree on upstreams: what is added, paused, broken and mended on one holds on both."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.crypto import new_key
from providers.testing import FakeUpstream
from tests.server import Server, free_port

MODEL = {"id": "acme/fast", "upstream_model": "fast-1", "price_per_second_usd": "0.10"}

Pair = tuple[Server, Server]


@pytest.fixture
def pair(postgres_url: str, tmp_path: Path) -> Iterator[Pair]:
    env = {
        "ONEREEL_DATABASE_URL": postgres_url,
        "ONEREEL_STORAGE_URL": f"file://{tmp_path / 'storage'}",
        "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new_key()}"]',
        "ONEREEL_ROUTING__FAILURE_THRESHOLD": "3",
        "ONEREEL_ROUTING__COOL_DOWN_SECONDS": "8",
    }
    with contextlib.ExitStack() as stack:
        servers = [Server(env=env), Server(env=env)]
        for server in servers:  # not ready until there is a model
            server.start(ready=False)
            stack.callback(server.__exit__, None, None, None)
        for server in servers:
            until(lambda server=server: listens(server), 60)  # type: ignore[misc]
        yield servers[0], servers[1]


def listens(server: Server) -> bool:
    with contextlib.suppress(OSError):
        return server.request("GET", "/v1/upstreams")[0] == 200
    return False


def until(check: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def add(server: Server, name: str, base_url: str, **fields: Any) -> None:
    body = {"name": name, "base_url": base_url, "api_key": f"key-{name}", "models": [MODEL], **fields}
    server.call("POST", "/v1/upstreams", body)


def seen(server: Server, name: str) -> dict[str, Any]:
    return dict(server.call("GET", f"/v1/upstreams/{name}"))


def make(server: Server, count: int = 1) -> list[str]:
    body = {"prompt": "a cat", "model": "acme/fast", "n": count}
    video = server.call("POST", "/v1/videos", body)
    return list(video.get("group") or [video["id"]])


def ended(server: Server, ids: list[str], seconds: float = 60) -> list[dict[str, Any]]:
    def all_ended() -> bool:
        found = [server.call("GET", f"/v1/videos/{each}")["status"] for each in ids]
        return all(status in ("completed", "failed") for status in found)

    until(all_ended, seconds)
    return [dict(server.call("GET", f"/v1/videos/{each}")) for each in ids]


def where(server: Server, video_id: str) -> list[str]:
    return [each["upstream"] for each in server.call("GET", f"/v1/videos/{video_id}/attempts")["data"]]


@pytest.mark.timeout(300)
def test_two_servers_agree(pair: Pair) -> None:
    one, two = pair
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with FakeUpstream(poll_after_ms=50) as good, FakeUpstream(poll_after_ms=50) as mended:
        add(one, "first", dead, priority=0)
        add(two, "second", good.base_url, priority=1)
        for server in pair:
            until(lambda server=server: "acme/fast" in str(server.call("GET", "/v1/models")), 3)  # type: ignore[misc]

        ids = make(one, 3) + make(two, 3)
        assert {video["status"] for video in ended(two, ids)} == {"completed"}
        for server in pair:
            until(lambda server=server: seen(server, "first")["breaker"] == "open", 3)  # type: ignore[misc]
        (later,) = make(two)
        ended(one, [later])
        assert where(one, later) == ["second"]

        mended.config(submit_delay_ms=[1500, 1500])
        one.call("POST", "/v1/upstreams/first", {"base_url": mended.base_url})
        for server in pair:
            until(lambda server=server: seen(server, "first")["breaker"] == "half_open", 15)  # type: ignore[misc]
        ids = make(one, 5) + make(two, 5)
        until(lambda: mended.stats()["calls"].get("create", 0) > 0, 10)
        time.sleep(1)  # its answer is still on the way
        assert mended.stats()["calls"]["create"] == 1
        for server in pair:
            until(lambda server=server: seen(server, "first")["breaker"] == "closed", 10)  # type: ignore[misc]
        assert {video["status"] for video in ended(one, ids)} == {"completed"}

        two.call("POST", "/v1/upstreams/first/pause", {"reason": "maintenance"})
        until(lambda: seen(one, "first")["status"] == "paused", 3)
        before = mended.stats()["jobs"]
        time.sleep(1)
        ended(two, make(one, 2) + make(two, 2))
        assert mended.stats()["jobs"] == before
        for server in pair:
            assert "key-first" not in server.log_tail(200_000)
