"""Ten thousand open event streams on one API process, PostgreSQL and Redis. By hand:

python -m tests.bench.streams [--streams 10000] [--videos 1000] [--without-redis]

Prints memory and CPU of the process with the streams at rest, its statements a second, and how long a change of one
video takes to reach all who watch it.
"""

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.crypto import new_key
from providers.testing import FakeUpstream
from tests.postgres import create_database, postgres
from tests.redis import Redis
from tests.server import ADMIN_KEY, MODEL, Server, serve_command, upstream_table

REST_SECONDS = 10.0
CHANGES = 20


class Stream:
    """One client: reads events and notes when the last came."""

    def __init__(self, port: int, video_id: str) -> None:
        self._port, self._video_id = port, video_id
        self.events = 0
        self.last = 0.0

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"GET /v1/videos/{self._video_id}/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n"
        self._writer.write(head.encode())
        status = await self._reader.readline()
        assert b"200" in status, status + await self._reader.read(2000)
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while line := await self._reader.readline():
            if line.startswith(b"event:"):
                self.events += 1
                self.last = time.perf_counter()

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()


@contextlib.contextmanager
def servers(options: argparse.Namespace) -> Iterator[tuple[Server, str, Redis | None]]:
    with (
        TemporaryDirectory(prefix="onereel-streams-") as folder,
        postgres() as host,
        FakeUpstream(poll_after_ms=3_600_000) as upstream,
        contextlib.ExitStack() as stack,
    ):
        url = create_database(host, "streams")
        env = {
            "ONEREEL_DATABASE_URL": url,
            "ONEREEL_STORAGE_URL": f"file://{Path(folder) / 'storage'}",
            "ONEREEL_SECURITY__ENCRYPTION_KEYS": f'["{new_key()}"]',
        }
        redis = None if options.without_redis else stack.enter_context(Redis())
        if redis is not None:
            env["ONEREEL_REDIS_URL"] = redis.url
        config = upstream_table(upstream.base_url)
        yield (
            stack.enter_context(Server(env=env, config=config, command=[*serve_command(), "--roles", "api"])),
            url,
            redis,
        )


async def measure(server: Server, url: str, redis: Redis | None, options: argparse.Namespace) -> None:
    ids = []
    for _ in range(options.videos // 10):
        video = server.call("POST", "/v1/videos", {"prompt": "a cat", "model": MODEL, "n": 10})
        ids += video["group"]
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    streams = [Stream(server.port, ids[n % len(ids)]) for n in range(options.streams)]
    began, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
    for first in range(0, len(streams), 200):
        await asyncio.gather(*(each.open() for each in streams[first : first + 200]))
    opened, opening = time.perf_counter() - began, sum(process.cpu_times()[:2])
    await asyncio.sleep(5)
    assert all(each.events >= 1 for each in streams)
    memory = process.memory_info().rss
    spent = (opening - cpu) / len(streams)
    print(
        f"{len(streams)} streams of {len(ids)} videos opened in {opened:.1f} s, {spent * 1000:.1f} ms CPU each"
    )
    print(
        f"memory {before / 1e6:.0f} -> {memory / 1e6:.0f} MB: {(memory - before) / len(streams) / 1e3:.1f} kB a stream"
    )
    cpu = sum(process.cpu_times()[:2])
    await asyncio.sleep(REST_SECONDS)
    print(f"at rest: {(sum(process.cpu_times()[:2]) - cpu) / REST_SECONDS:.3f} cores")
    print(f"streams that ended by themselves: {sum(each._task.done() for each in streams)}")
    await changes(url, redis, streams, ids)
    ended = [each for each in streams if each._task.done()]
    print(f"open files of the process: {process.num_fds()}; streams that ended meanwhile: {len(ended)}")
    await asyncio.gather(*(each.close() for each in streams))


async def changes(url: str, redis: Redis | None, streams: list[Stream], ids: list[str]) -> None:
    """Change videos one after another as a job process does: the row, then the message."""
    times = []
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    for video_id in ids[:CHANGES]:
        mine = [each for each in streams if each._video_id == video_id]
        counts = [each.events for each in mine]
        began = time.perf_counter()
        async with engine.begin() as conn:
            await conn.execute(
                text("UPDATE videos SET version = version + 1 WHERE id = :id"), {"id": video_id}
            )
        if redis is not None:
            message = json.dumps({"from": "bench", "videos": [video_id]}, separators=(",", ":"))
            await asyncio.to_thread(redis.command, "PUBLISH", "onereel:news", "'" + message + "'")
        while any(each.events == count for each, count in zip(mine, counts, strict=True)):
            if time.perf_counter() - began > 5:
                break
            await asyncio.sleep(0.002)
        times.append(max(each.last for each in mine) - began)
    print(
        f"a change reaches all {len(mine)} watchers in {median(times) * 1000:.0f} ms (median), {max(times) * 1000:.0f} ms at most"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--without-redis", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with servers(options) as (server, url, redis):
        asyncio.run(measure(server, url, redis, options))


if __name__ == "__main__":
    main()
