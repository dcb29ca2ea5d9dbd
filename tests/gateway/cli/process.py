"""The `onereel` command in a process of its own, forked from one that has imported what commands import.

Importing is most of what a command costs, and there are hundreds of them.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_SECONDS: Final = 60
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "gateway.cli",
        "gateway.cli_billing_group",
        "gateway.cli_client",
        "gateway.cli_credits",
        "gateway.cli_doctor",
        "gateway.cli_generate",
        "gateway.cli_keys",
        "gateway.cli_keys_access",
        "gateway.cli_models",
        "gateway.cli_offline",
        "gateway.cli_secrets",
        "gateway.cli_upstreams",
        "gateway.db_postgres",
        "gateway.db_sqlite",
        "gateway.migrate",
        "alembic.command",
    ]
)


def forked(
    program: str, arguments: Sequence[str], env: Mapping[str, str], folder: Path, stdin: str
) -> "subprocess.CompletedProcess[str]":
    """Run to the end, at most a minute: the exit code, and what was written."""
    with TemporaryDirectory(prefix="onereel-command-") as name:
        streams = [Path(name) / each for each in ("stdin", "stdout", "stderr")]
        streams[0].write_text(stdin)
        command = [program, *arguments]
        process = _FORKS.Process(target=_run, args=(command, dict(env), folder, streams))
        process.start()
        process.join(_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, _SECONDS)
        said = [each.read_text() for each in streams[1:]]
    return subprocess.CompletedProcess(command, process.exitcode, *said)


def _run(command: list[str], env: dict[str, str], folder: Path, streams: list[Path]) -> None:
    flags = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
    for number, (path, flag) in enumerate(zip(streams, flags, strict=True)):
        os.dup2(os.open(path, flag), number)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = command
    from gateway.cli import main

    main(prog_name="onereel")
