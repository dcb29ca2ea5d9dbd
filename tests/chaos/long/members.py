"""Processes of a cluster that are killed, stopped and started again as a supervisor would."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import httpx

from tests.chaos.driver import WINDOWS
from tests.server import ROOT, free_port

Role = Literal["api", "jobs", "worker"]
READY: Final = {"api": "/health/ready", "jobs": "/health/ready", "worker": "/health"}


def serving(role: Role, port: int) -> list[str]:
    """The command of a gateway process with one role."""
    return [sys.executable, "-m", "tests.chaos.long.serving", "--port", str(port), "--roles", role]


def working(model: str, host: str, port: int, folder: Path) -> list[str]:
    """The command of a worker."""
    folders = [f"--models-dir={folder / 'models'}", f"--work-dir={folder / f'work-{port}'}"]
    options = [f"--host={host}", f"--port={port}", f"--models={model}", f"--token-file={folder / 'token'}"]
    return [sys.executable, "-m", "gateway.cli", "worker", *options, *folders]


@dataclass
class Member:
    """One process under a fixed port."""

    name: str
    role: Role
    folder: Path
    environment: Mapping[str, str]
    skew: float = 0.0
    model: str = ""
    port: int = field(default_factory=free_port)
    frozen: bool = False
    starts: int = 0

    def __post_init__(self) -> None:
        self.milestones = self.folder / f"milestones-{self.name}"
        self._output = (self.folder / f"{self.name}.log").open("ab")
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._popen.pid if self._popen is not None else 0

    def start(self) -> None:
        """Start it anew, with a clock that is wrong by another time."""
        skew = random.uniform(-self.skew, self.skew)
        command = (
            working(self.model, "127.0.0.1", self.port, self.folder)
            if self.role == "worker"
            else serving(self.role, self.port)
        )
        chaos = {"CHAOS_SKEW": f"{skew:.1f}", "CHAOS_LOG": str(self.milestones)}
        self._popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**self.environment, **chaos},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        self.starts += 1

    def supervise(self) -> None:
        """Start it again if it has ended by itself."""
        if self._popen is not None and self._popen.poll() is not None:
            self.start()

    def kill(self) -> dict[str, set[str]]:
        """SIGKILL; the videos that it had in hand, by window."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
        return {window: self.inside(window) for window in WINDOWS}

    def freeze(self) -> None:
        self.frozen = True
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self.frozen = False

    def inside(self, window: str) -> set[str]:
        """The videos that this process has in a window now, or had when it died."""
        opens, closes = WINDOWS[window]
        found: set[str] = set()
        for line in self._lines():
            who, name, video_id = line.split()
            if who != str(self.pid):
                continue
            if name == opens:
                found.add(video_id)
            elif name in closes:
                found.discard(video_id)
        return found

    def _lines(self) -> list[str]:
        if not self.milestones.exists():
            return []
        return [line for line in self.milestones.read_text().splitlines() if line.count(" ") == 2]

    async def ready(self, client: httpx.AsyncClient) -> bool:
        """Whether it answers that it is."""
        with suppress(httpx.HTTPError):
            answer = await client.get(self.url + READY[self.role], timeout=2)
            return answer.status_code == 200
        return False

    def close(self) -> None:
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
        self._output.close()


async def all_ready(members: Sequence[Member], client: httpx.AsyncClient, seconds: float) -> None:
    """Wait for every one of them."""
    deadline = time.monotonic() + seconds
    for member in members:
        while not await member.ready(client):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{member.name} did not start; see {member.folder}")
            member.supervise()
            await asyncio.sleep(0.2)
