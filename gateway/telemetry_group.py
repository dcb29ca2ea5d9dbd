"""Processes of one `serve`, behind one port: each writes down what it has counted, so that any can answer for all."""

import os
import time
from pathlib import Path
from typing import Final

from gateway.background import Polling
from gateway.telemetry import Metrics
from gateway.telemetry_merge import merged

SECONDS: Final = 2.0
_ENDED_SECONDS: Final = 10.0
"""Whoever wrote nothing for so long is gone: what it counted still counts, what it was no longer does."""


class SharedMetrics(Polling):
    """This process's file, and what the files of the others say."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        super().__init__(SECONDS)
        self._path = folder / f"{os.getpid()}.prom"
        self._metrics = metrics

    async def once(self) -> bool:
        """Write down what this process has counted."""
        self._write(self._metrics.exposition()[0])
        return False

    async def stop(self) -> None:
        """Write down the last of it."""
        await super().stop()
        await self.once()

    def with_others(self, own: bytes) -> bytes:
        """Merge what this process says now with what the others wrote last.

        It is written down first: whoever answers next shall say no less.
        """
        self._write(own)
        alive = [own]
        ended: list[bytes] = []
        for path in sorted(self._path.parent.glob("*.prom")):
            if path != self._path:
                is_alive = time.time() - path.stat().st_mtime < _ENDED_SECONDS
                (alive if is_alive else ended).append(path.read_bytes())
        return merged(alive, ended)

    def _write(self, text: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_bytes(text)
        new.replace(self._path)


def forget_others(folder: Path) -> None:
    """Begin anew: the files are those of an earlier `serve`."""
    for path in folder.glob("*.prom"):
        path.unlink()
