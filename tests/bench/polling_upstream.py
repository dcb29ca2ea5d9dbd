"""Many upstreams whose videos take long: `python -m tests.bench.polling_upstream PORT [POLL_AFTER_MS]`.

Paths are /u{n}/v1/videos...; every upstream counts the polls of each second. A video never ends by itself, unless
`set` gave it a service time. What the bench asks, each by GET /control/...:

end?each=30&seconds=60  lets so many of every upstream end (`&failed=1`: badly) at
                        moments spread over the next seconds; answers which and when (milliseconds since the epoch)
set?poll_after_ms=2000  when to ask again, from now on; also `moving=1` (every poll shows more progress), `bytes=4000000`
                        (how long a file is) and `mean=2&sigma=0.5&seed=7` (videos made from now on take so long)
polls, totals, ends     polls by upstream and second; how many were created, polled and fetched; when each video ends
late                    how long this process itself stood still at the longest since the last `end`, in seconds
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import uvloop

from providers.testing_media import mp4
from tests.bench.service import Service
from tests.bench.upstream import SECONDS, SIZE

ANSWER_SECONDS: Final = 0.1
"""How long every answer takes."""

_TICK_SECONDS: Final = 0.02
_CLIP: Final = mp4(720, 1280, Fraction(SECONDS))
_ENDLESS: Final = float("inf")


class Upstreams:
    """What all connections share."""

    def __init__(self, poll_after_ms: int | None) -> None:
        self._poll_after = poll_after_ms
        self._moving = False
        self._clip = _CLIP
        self._services: Iterator[float] | None = None
        self._ends: dict[str, float] = {}
        self._failed: set[str] = set()
        self._progress: Counter[str] = Counter()
        self._polls: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._totals: Counter[str] = Counter()
        self.late: list[float] = []

    @property
    def poll_after(self) -> str:
        """The header that says when to ask again."""
        return "" if self._poll_after is None else f"openai-poll-after-ms: {self._poll_after}\r\n"

    def create(self, upstream: str) -> bytes:
        """Take a video."""
        video_id = f"{upstream}-{len(self._ends)}"
        self._ends[video_id] = time.time() + next(self._services) if self._services else _ENDLESS
        self._totals["created"] += 1
        return self._shown(video_id, "queued")

    def poll(self, upstream: str, video_id: str) -> bytes:
        """Say how a video is doing."""
        now = time.time()
        self._polls[upstream][int(now)] += 1
        self._totals["polls"] += 1
        if self._moving:
            self._progress[video_id] += 1
        if self._ends[video_id] > now:
            return self._shown(video_id, "in_progress")
        return self._shown(video_id, "failed" if video_id in self._failed else "completed")

    def content(self) -> bytes:
        """The file of every video."""
        self._totals["fetched"] += 1
        return self._clip

    def control(self, what: str, asked: dict[str, list[str]]) -> bytes:
        """What the bench asks."""
        if what == "polls":
            return json.dumps(self._polls).encode()
        if what == "totals":
            return json.dumps(self._totals).encode()
        if what == "ends":
            return json.dumps({name: end for name, end in self._ends.items() if end < _ENDLESS}).encode()
        if what == "late":
            return json.dumps(max(self.late, default=0.0)).encode()
        if what == "set":
            self._set({name: values[0] for name, values in asked.items()})
            return b"{}"
        self.late.clear()
        ends = self._end(int(asked["each"][0]), float(asked["seconds"][0]))
        if "failed" in asked:
            self._failed |= ends.keys()
        return json.dumps({video_id: int(end * 1000) for video_id, end in ends.items()}).encode()

    def _set(self, asked: dict[str, str]) -> None:
        if "poll_after_ms" in asked:
            self._poll_after = int(asked["poll_after_ms"])
        if "moving" in asked:
            self._moving = asked["moving"] == "1"
        if "bytes" in asked:
            self._clip = _padded(int(asked["bytes"]))
        if "mean" in asked:
            self._services = Service(float(asked["mean"]), float(asked["sigma"])).times(int(asked["seed"]))

    def _end(self, each: int, seconds: float) -> dict[str, float]:
        live = defaultdict(list)
        for video_id, end in self._ends.items():
            if end == _ENDLESS:
                live[video_id.split("-")[0]].append(video_id)
        now = time.time()
        ends = {
            video_id: now + random.uniform(0, seconds)
            for ids in live.values()
            for video_id in random.sample(ids, min(each, len(ids)))
        }
        self._ends |= ends
        return ends

    def _shown(self, video_id: str, status: str) -> bytes:
        shown: dict[str, Any] = {"id": video_id, "object": "video", "model": "fast-1", "status": status}
        progress = 100 if status == "completed" else 1 + self._progress[video_id] % 99
        if status == "failed":
            shown["error"] = {"code": "moderation_blocked", "message": "No."}
        return json.dumps({**shown, "progress": progress, "size": SIZE, "seconds": str(SECONDS)}).encode()


def _padded(length: int) -> bytes:
    """The clip with a box of noise behind it: a real video does not compress."""
    noise = os.urandom(max(0, length - len(_CLIP) - 8))
    return _CLIP + (len(noise) + 8).to_bytes(4, "big") + b"free" + noise


class _Connection(asyncio.Protocol):
    """One keep-alive connection; request bodies are skipped by their Content-Length."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            length = _content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            del self._buffer[: end + 4 + length]
            method, path, _ = head.decode().split(" ", 2)
            self._loop.call_later(ANSWER_SECONDS, self._send, *self._answer(method, path))

    def _answer(self, method: str, url: str) -> tuple[str, bytes]:
        parts = urlsplit(url)
        path = parts.path.strip("/").split("/")
        if path[0] == "control":
            return "application/json", self._upstreams.control(path[1], parse_qs(parts.query))
        if method == "POST":
            return "application/json", self._upstreams.create(path[0])
        if path[-1] == "content":
            return "video/mp4", self._upstreams.content()
        return "application/json", self._upstreams.poll(path[0], path[-1])

    def _send(self, kind: str, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        if not self._transport.is_closing():
            self._transport.write(f"{head}{self._upstreams.poll_after}\r\n".encode() + body)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def main(port: int, poll_after_ms: int | None) -> None:
    """Serve until killed."""
    upstreams = Upstreams(poll_after_ms)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(upstreams), "127.0.0.1", port, backlog=1024
    )
    while server.is_serving():
        before = time.perf_counter()
        await asyncio.sleep(_TICK_SECONDS)
        upstreams.late.append(time.perf_counter() - before - _TICK_SECONDS)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
