"""Load from one core: wrk where it is installed, else a loop of our own (which then is the slower side)."""

import asyncio
import itertools
import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.bench.systems import System
from tests.bench.upstream import SECONDS, SIZE, pinned

_SCRIPT: Final = """
wrk.method = "{method}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = {body}
local keys, requests, turn = {{{keys}}}, {{}}, 0
init = function()
  for place, key in ipairs(keys) do
    wrk.headers["Authorization"] = "Bearer " .. key
    requests[place] = wrk.format()
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nRESULT {{"requests": %d, "seconds": %f, "bytes": %d, "failed": %d, "p50": %f, "p99": %f}}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One closed loop: `connections` clients that send the next request when the last is answered."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    connections: int = 32
    seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class Result:
    """Rates per second, latencies in milliseconds, `cpu_us` per request of the system's process tree."""

    requests: int
    seconds: float
    bytes: int
    failed: int
    p50: float
    p99: float
    cpu_us: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def mb_per_second(self) -> float:
        """Megabytes per second."""
        return self.bytes / self.seconds / 1e6


def create_body(model: str) -> dict[str, Any]:
    """A create as an SDK would send it."""
    return {
        "model": model,
        "prompt": "a red paper boat on a calm lake at dawn",
        "seconds": str(SECONDS),
        "size": SIZE,
    }


def run(system: System, load: Load, folder: Path, core: str) -> Result:
    """Load a system. RuntimeError if any request failed: a rate of errors is no rate."""
    before = system.cpu_seconds()
    figures = _wrk(system, load, folder, core) if shutil.which("wrk") else asyncio.run(_loop(system, load))
    cpu = system.cpu_seconds() - before
    if figures["failed"]:
        raise RuntimeError(f"{system.name}: {figures['failed']} of {figures['requests']} requests failed")
    return Result(**figures, cpu_us=cpu * 1e6 / max(1, figures["requests"]))


def _wrk(system: System, load: Load, folder: Path, core: str) -> dict[str, Any]:
    body = "nil" if load.body is None else f"'{json.dumps(load.body)}'"
    script = folder / "load.lua"
    keys = ", ".join(f'"{key}"' for key in system.keys)
    script.write_text(_SCRIPT.format(method=load.method, keys=keys, body=body))
    command = [
        *pinned(core),
        "wrk",
        "-t1",
        f"-c{load.connections}",
        f"-d{load.seconds:g}s",
        "--timeout",
        "60s",
    ]
    command += ["-s", str(script), f"{system.base_url}{load.path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or "RESULT " not in done.stdout:
        raise RuntimeError(f"wrk: {done.stdout[-500:]} {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.split("RESULT ", 1)[1].splitlines()[0])
    return found


async def _loop(system: System, load: Load) -> dict[str, Any]:
    taken: list[float] = []
    count = {"bytes": 0, "failed": 0}
    started = time.perf_counter()
    keys = itertools.cycle(system.keys)

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < started + load.seconds:
            began = time.perf_counter()
            url, headers = f"{system.base_url}{load.path}", {"Authorization": f"Bearer {next(keys)}"}
            async with session.request(load.method, url, json=load.body, headers=headers) as answer:
                async for chunk in answer.content.iter_any():
                    count["bytes"] += len(chunk)
                count["failed"] += answer.status != 200
            taken.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(load.connections)))
    taken.sort()
    return {
        "requests": len(taken),
        "seconds": time.perf_counter() - started,
        **count,
        "p50": taken[len(taken) // 2] * 1e3,
        "p99": taken[int(len(taken) * 0.99)] * 1e3,
    }
