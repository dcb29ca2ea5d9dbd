"""One onereel that dies where it is told to and is started again on the same data, from a `Nursery`."""

import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.settings import Settings
from tests.chaos.aim import BEFORE_COMMIT, COMMITTED
from tests.chaos.nursery import Nursery
from tests.server import Server

ORGANIZATION = "org_default"
LEASE = 1.5


class Doomed(Server):
    """`start` starts it unharmed, `start_aimed` with a place to die at."""

    def __init__(self, url: str, folder: Path, config: str, env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "ONEREEL_DATABASE_URL": url,
            "ONEREEL_LOG_LEVEL": "WARNING",
            "ONEREEL_JOBS__LEASE_SECONDS": str(LEASE),
            "ONEREEL_JOBS__RENEW_SECONDS": str(LEASE / 3),
            "ONEREEL_JOBS__MAX_TRIES": "40",
            "ONEREEL_ROUTING__FAILURE_THRESHOLD": "1000000",  # an open breaker would keep it from what it must die in
            "CHAOS_LOG": str(folder / "milestones"),
            "CHAOS_HOLD": "0",
            "CHAOS_AIM_LOG": str(folder / "aim"),
        }
        super().__init__(config=config, env={**settings, **env}, data_dir=folder)
        self.url = url
        self.starts = 0
        self._aim_log = folder / "aim"
        self._nursery = Nursery()

    def start_aimed(self, aim: str = "") -> None:
        """A new process on the old data, ready to take work."""
        self._env["CHAOS_AIM"] = aim
        self._nursery.start(self.environment(), self.port, str(self.log_path))
        self.starts += 1
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with self._open("GET", "/health/ready", None, timeout=5):
                    return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"it did not become ready; the end of its log:\n{self.log_tail()}")

    def died(self, seconds: float = 30) -> str:
        """Wait for the death that was aimed at; the statement it fell on."""
        code = self._nursery.ended(seconds)
        if code != -signal.SIGKILL:
            raise RuntimeError(f"it was not killed ({code}); the end of its log:\n{self.log_tail()}")
        return self._aim_log.read_text().splitlines()[-1].partition("\t")[2]

    def end(self) -> None:
        """End it in order."""
        self._nursery.stop()

    async def read(self, query: Callable[[Connection], Any], *, write: bool = False) -> Any:
        """Run a function on its database."""
        database = open_database(Settings(database_url=self.url, data_dir=self.data_dir), Clock())
        try:
            return await (database.write(query) if write else database.read(query))
        finally:
            await database.close()

    def __enter__(self) -> Self:
        (self.data_dir / "onereel.toml").write_text(self._config)
        self._nursery.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nursery.__exit__(kind, error, trace)


def places(kill: Callable[[str], str]) -> list[str]:
    """Kill before the first statement, after each, right before COMMIT and right after it; what was hit.

    `kill` gets a place, and answers the statement. A number beyond the last statement is the place before COMMIT.
    """
    hit: list[str] = []
    while not hit or not hit[-1].startswith(BEFORE_COMMIT):
        hit.append(kill(str(len(hit))))
    return [*hit, kill(COMMITTED)]


def private_hosts(*hosts: str) -> str:
    """The setting that lets webhooks reach receivers on this machine."""
    return json.dumps(hosts)
