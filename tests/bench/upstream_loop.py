"""The mock upstream where no nginx is: `python -m tests.bench.upstream_loop PORT FOLDER`."""

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

from tests.bench.upstream import CLIPS, POLL_AFTER_MS, created, polled


class _Mock(asyncio.Protocol):
    """One keep-alive connection; request bodies are skipped by their Content-Length."""

    def __init__(self, clips: dict[str, bytes]) -> None:
        self._clips = clips
        self._buffer = bytearray()

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
            method, path, _ = head.split(b" ", 2)
            self._answer(method.decode(), path.decode())

    def _answer(self, method: str, path: str) -> None:
        extra, kind = "", "application/json"
        if method == "POST":
            body, extra = created(path.split("/")[1]).encode(), f"openai-poll-after-ms: {POLL_AFTER_MS}\r\n"
        elif path.endswith("/content"):
            body, kind = self._clips[path.split("/")[4].removeprefix("video_")], "video/mp4"
        else:
            body = polled(path.split("/")[4].removeprefix("video_")).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        self._transport.writelines([head.encode(), body])


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def main(port: int, folder: Path) -> None:
    """Serve until killed."""
    clips = {name: (folder / f"{name}.mp4").read_bytes() for name in CLIPS}
    server = await asyncio.get_running_loop().create_server(lambda: _Mock(clips), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
