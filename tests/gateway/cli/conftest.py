"""The `onereel` command in a clean environment, with and without a server."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from providers.testing import FakeUpstream
from tests.gateway.cli.process import forked
from tests.server import Server

Command = Callable[..., "subprocess.CompletedProcess[str]"]
AS_INSTALLED = frozenset({"--help", "doctor", "serve", "worker"})
ONEREEL = str(Path(sys.executable).parent / "onereel")


def run_command(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """What starts servers or workers runs as it is installed, the rest without importing everything anew."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ONEREEL_")}
    environment = {
        **inherited,
        "ONEREEL_LOCAL__ENABLED": "false",
        "ONEREEL_UPSTREAMS_FROM_ENV": "false",
        "ONEREEL_PORT": "0",
        **(env or {}),
    }
    if arguments[0] not in AS_INSTALLED:
        return forked(ONEREEL, arguments, environment, folder, stdin)
    return subprocess.run(
        [ONEREEL, *arguments],
        env=environment,
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def onereel(tmp_path: Path) -> Command:
    """Run the command in an empty folder."""

    def run(
        *arguments: str, env: dict[str, str] | None = None, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        return run_command(tmp_path, *arguments, env=env, stdin=stdin)

    return run


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=20) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(upstream: FakeUpstream) -> Iterator[Server]:
    """A server without ONEREEL_ADMIN_KEY: commands find it, and their key, by its lock file."""
    with Server(upstream=upstream, env={"ONEREEL_ADMIN_KEY": ""}) as running:
        yield running


@pytest.fixture
def beside(server: Server, tmp_path: Path) -> Command:
    """Run the command beside the running server."""
    config = tmp_path / "onereel.toml"
    config.write_text((server.data_dir / "onereel.toml").read_text())

    def run(
        *arguments: str, env: dict[str, str] | None = None, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        data_dir = {"ONEREEL_DATA_DIR": str(server.data_dir / "data")}
        return run_command(tmp_path, *arguments, env={**data_dir, **(env or {})}, stdin=stdin)

    return run
