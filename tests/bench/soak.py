"""Half an hour of ordinary traffic on several processes, PostgreSQL and Redis: does anything grow? By hand:

python -m tests.bench.soak [--minutes 30] [--rate 3]

Creates, polls, lists, event streams, downloads, cancels, bad requests, webhooks, keys made and revoked. Prints for each
process its memory, files, connections and threads after the first third and at the end, and draws out/soak.svg.
"""

import argparse
import asyncio
import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway.crypto import new_key
from providers.testing import FakeUpstream
from tests.bench.plot import Panel, panels
from tests.chaos.receiver import Receiver
from tests.postgres import create_database, postgres
from tests.redis import Redis
from tests.server import ADMIN_KEY, MODEL, ROOT, Server, serve_command, upstream_table

EVERY: Final = 5.0
"""Seconds from sample to sample."""
FIGURES: Final = ("memory MB", "open files", "TCP connections", "threads")
CLIENTS: Final = 12
console = Console(width=130)


@dataclass
class Samples:
    """Moments in minutes, and for each figure of each process its values at them."""

    moments: list[float] = field(default_factory=list)
    values: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {figure: defaultdict(list) for figure in FIGURES}
    )

    def take(self, minute: float, tree: dict[str, psutil.Process]) -> None:
        """Look at every process once."""
        self.moments.append(minute)
        for name, process in tree.items():
            with process.oneshot():
                found = (
                    process.memory_info().rss / 1e6,
                    process.num_fds(),
                    len(process.net_connections("tcp")),
                    process.num_threads(),
                )
            for figure, value in zip(FIGURES, found, strict=True):
                self.values[figure][name].append(value)

    def growth(self, figure: str, name: str) -> tuple[float, float]:
        """The medians of the sixth that follows the first third, and of the last sixth."""
        values = self.values[figure][name]
        third, sixth = len(values) // 3, max(1, len(values) // 6)
        return median(values[third : third + sixth]), median(values[-sixth:])


def processes(server: Server) -> dict[str, psutil.Process]:
    """The supervisor and what it started, oldest first; the one of jobs is the last."""
    first = psutil.Process(server.pid)
    children = sorted(first.children(), key=lambda each: each.pid)
    names = [f"api {n + 1}" for n in range(len(children) - 1)] + ["jobs"]
    return {"supervisor": first, **dict(zip(names, children, strict=True))}


class Traffic:
    """Clients that do what clients do, `rate` videos a second between them."""

    def __init__(self, server: Server, receiver: Receiver, http: httpx.AsyncClient, rate: float) -> None:
        self._server, self._receiver, self._http, self._rate = server, receiver, http, rate
        self.counts: Counter[str] = Counter()
        self.unexpected: Counter[str] = Counter()

    async def client(self, until: float) -> None:
        """One client, to the end."""
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                await self._video()
            except httpx.HTTPError as error:
                self.unexpected[type(error).__name__] += 1
            pause = CLIENTS / self._rate * random.uniform(0.5, 1.5) - (time.monotonic() - began)
            await asyncio.sleep(max(0.0, pause))

    async def _video(self) -> None:
        body = {"model": MODEL, "prompt": "a cat " * random.randint(1, 40), "seconds": "4"}
        if random.random() < 0.5:
            body["webhook_url"] = f"http://{self._receiver.host}/hook"
        video = await self._call("create", "POST", "/v1/videos", json=body)
        if random.random() < 0.1:
            await self._call("bad create", "POST", "/v1/videos", 400, json={**body, "seconds": "99"})
        if random.random() < 0.05:
            await self._call("cancel", "POST", f"/v1/videos/{video['id']}/cancel")
        await (self._follow(video["id"]) if random.random() < 0.3 else self._poll(video["id"]))
        if random.random() < 0.3:
            await self._call("list", "GET", "/v1/videos?limit=20")

    async def _poll(self, video_id: str) -> None:
        while (video := await self._call("status", "GET", f"/v1/videos/{video_id}"))["status"] not in (
            "completed",
            "failed",
        ):
            await asyncio.sleep(1)
        if video["status"] == "completed":
            answer = await self._http.get(f"/v1/videos/{video_id}/content")
            self._count("download", answer.status_code, 200)

    async def _follow(self, video_id: str) -> None:
        async with self._http.stream("GET", f"/v1/videos/{video_id}/events", timeout=60) as answer:
            self._count("stream", answer.status_code, 200)
            async for _ in answer.aiter_bytes():
                if random.random() < 0.05:
                    return  # a client that goes away

    async def keys(self, until: float) -> None:
        """A key is made, used and revoked, again and again."""
        project = await self._call("projects", "GET", "/v1/organization/projects")
        path = f"/v1/organization/projects/{project['data'][0]['id']}/api_keys"
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                key = await self._call("key", "POST", path, json={"name": "soak"})
                headers = {"Authorization": f"Bearer {key['value']}"}
                await self._call("list", "GET", "/v1/videos", headers=headers)
                await self._call("revoke", "DELETE", f"{path}/{key['id']}")
            await asyncio.sleep(3)

    async def _call(self, name: str, method: str, path: str, status: int = 200, **rest: Any) -> Any:
        answer = await self._http.request(method, path, **rest)
        self._count(name, answer.status_code, status)
        return answer.json()

    def _count(self, name: str, status: int, expected: int) -> None:
        self.counts[name] += 1
        if status != expected:
            self.unexpected[f"{name} {status}"] += 1


@contextlib.contextmanager
def place() -> Iterator[tuple[Server, Receiver]]:
    """Two API processes and one of jobs."""
    with (
        TemporaryDirectory(prefix="onereel-soak-") as folder,
        postgres() as host,
        Redis() as redis,
        FakeUpstream(poll_after_ms=500, run_seconds=(0.5, 3.0)) as upstream,
        contextlib.closing(Receiver()) as receiver,
    ):
        env = {
            "ONEREEL_DATABASE_URL": create_database(host, "soak"),
            "ONEREEL_REDIS_URL": redis.url,
            "ONEREEL_STORAGE_URL": f"file://{Path(folder) / 'storage'}",
            "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new_key()}"]',
            "ONEREEL_SECURITY__ALLOWED_PRIVATE_HOSTS": f'["{receiver.host}"]',
        }
        command = [*serve_command(), "--roles", "api,jobs", "--workers", "2"]
        with Server(env=env, config=upstream_table(upstream.base_url), command=command) as server:
            yield server, receiver


async def soak(server: Server, receiver: Receiver, minutes: float, rate: float) -> tuple[Samples, Traffic]:
    """Traffic and samples for so long."""
    samples, tree = Samples(), processes(server)
    began = time.monotonic()
    until = began + minutes * 60
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=server.base_url, headers=headers, timeout=30) as http:
        traffic = Traffic(server, receiver, http, rate)
        load = [asyncio.create_task(traffic.client(until)) for _ in range(CLIENTS)]
        load.append(asyncio.create_task(traffic.keys(until)))
        with Progress(console=console) as progress:
            shown = progress.add_task("soak", total=minutes)
            while time.monotonic() < until:
                samples.take((time.monotonic() - began) / 60, tree)
                progress.update(shown, completed=samples.moments[-1])
                await asyncio.sleep(EVERY)
        await asyncio.gather(*load)
    return samples, traffic


def report(samples: Samples, traffic: Traffic) -> None:
    """The tables and the picture."""
    table = Table("process", *FIGURES, title="after the first third -> at the end")
    for name in samples.values[FIGURES[0]]:
        pairs = [samples.growth(figure, name) for figure in FIGURES]
        table.add_row(name, *(f"{first:.0f} -> {last:.0f}" for first, last in pairs))
    console.print(table)
    console.print("requests: " + ", ".join(f"{name} {n}" for name, n in traffic.counts.most_common()))
    console.print(f"unexpected: {dict(traffic.unexpected) or 'none'}")
    drawn = [
        Panel(
            figure, {name: list(zip(samples.moments, values, strict=True)) for name, values in lines.items()}
        )
        for figure, lines in samples.values.items()
    ]
    out = ROOT / "out" / "soak.svg"
    out.parent.mkdir(exist_ok=True)
    out.write_text(panels(f"{sum(traffic.counts.values()):,} requests of every kind, by minute", drawn))
    console.print(f"drawn in {out.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=3, help="videos a second")
    options = parser.parse_args()
    with place() as (server, receiver):
        report(*asyncio.run(soak(server, receiver, options.minutes, options.rate)))


if __name__ == "__main__":
    main()
