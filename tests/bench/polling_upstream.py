"""Many upstreams whose videos take long: `python -m tests.bench.polling_upstream PORT`.

Paths are /u{n}/v1/videos...; every upstream counts the polls of each second. A video never ends by itself:
`GET /control/end?each=30&seconds=60` lets so many of every upstream end at moments spread over the next seconds,
and answers which and when (milliseconds since the epoch). `GET /control/polls` answers the counts,
`GET /control/late` how long this process itself stood still at the longest since then, in seconds.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import uvloop

from providers.testing_media import mp4
from tests.bench.upstream import SECONDS, SIZE

ANSWER_SECONDS: Final = 0.1
"""How long every answer takes."""

_TICK_SECONDS: Final = 0.02
_CLIP: Final = mp4(720, 1280, Fraction(SECONDS))


class Upstreams:
    """What all connections share."""

    def __init__(self, poll_after_ms: int | None) -> None:
        self.poll_after = "" if poll_after_ms is None else f"openai-poll-after-ms: {poll_after_ms}\r\n"
        self._ends: dict[str, float] = {}
        self._polls: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.late: list[float] = []

    def create(self, upstream: str) -> bytes:
        """Take a video."""
        video_id = f"{upstream}-{len(self._ends)}"
        self._ends[video_id] = float("inf")
        return self._shown(video_id, "queued")

    def poll(self, upstream: str, video_id: str) -> bytes:
        """Say how a video is doing."""
        now = time.time()
        self._polls[upstream][int(now)] += 1
        return self._shown(video_id, "completed" if self._ends[video_id] <= now else "in_progress")

    def control(self, what: str, asked: dict[str, list[str]]) -> bytes:
        """What the bench asks."""
        if what == "polls":
            return json.dumps(self._polls).encode()
        if what == "late":
            return json.dumps(max(self.late, default=0.0)).encode()
        self.late.clear()
        each, seconds = int(asked["each"][0]), float(asked["seconds"][0])
        live = defaultdict(list)
        for video_id, end in self._ends.items():
            if end == float("inf"):
                live[video_id.split("-")[0]].append(video_id)
        now = time.time()
        ends = {
            video_id: now + random.uniform(0, seconds)
            for ids in live.values()
            for video_id in random.sample(ids, each)
        }
        self._ends |= ends
        return json.dumps({video_id: int(end * 1000) for video_id, end in ends.items()}).encode()

    @staticmethod
    def _shown(video_id: str, status: str) -> bytes:
        shown: dict[str, Any] = {"id": video_id, "object": "video", "model": "fast-1", "status": status}
        return json.dumps({**shown, "progress": 1, "size": SIZE, "seconds": str(SECONDS)}).encode()


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
            return "video/mp4", _CLIP
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
