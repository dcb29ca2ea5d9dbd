"""Servers that misbehave at the level of the socket, and the requests sent to them."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

from providers.contract import (
    Adapter,
    Handle,
    MediaInput,
    MediaRole,
    Operation,
    Running,
    Status,
    VideoRequest,
)

Respond = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One connection of a client, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.line = ""
        self.headers: dict[str, str] = {}
        self.received = 0

    async def head(self) -> None:
        """Read the request line and the headers."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.line, *rest = text.strip().split("\r\n")
        pairs = (header.partition(":") for header in rest)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}

    async def body(self) -> bytes:
        """Read the whole body by its Content-Length."""
        data = await self.reader.readexactly(int(self.headers.get("content-length", 0)))
        self.received += len(data)
        return data

    async def drain_body(self) -> None:
        """Read the whole body and keep only its length."""
        left = int(self.headers.get("content-length", 0))
        while left:
            data = await self.reader.read(min(left, 65536))
            if not data:
                return
            left -= len(data)
            self.received += len(data)

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer with Content-Length and close."""
        named = {"content-length": str(len(body)), "connection": "close"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in named.items()) + "\r\n"
        self.writer.write(head.encode("latin-1") + body)
        await self.writer.drain()

    def reset(self) -> None:
        """Send a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Served:
    """A running server: its port and every exchange it had."""

    def __init__(self) -> None:
        self.port = 0
        self.exchanges: list[Exchange] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextlib.asynccontextmanager
async def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """Serve on 127.0.0.1; `respond` is called once per connection, with the headers read."""
    served = Served()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(reader, writer)
        try:
            await exchange.head()
            served.exchanges.append(exchange)
            await respond(exchange)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()


def answering(status: int, body: bytes = b"", **headers: str) -> Respond:
    """A server that reads the request and always gives this answer."""

    async def respond(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(status, body, **headers)

    return respond


def media(role: MediaRole, data: bytes, media_type: str = "video/mp4", name: str = "") -> MediaInput:
    """An input file of these bytes, read in small pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    return MediaInput(role, media_type, len(data), pieces, name)


def video_request(prompt: str = "a fox", **changes: Any) -> VideoRequest:
    """A request that every model takes."""
    values: dict[str, Any] = {
        "attempt_id": "att_1",
        "idempotency_key": f"key-{sum(prompt.encode())}",
        "operation": Operation.GENERATE,
        "model": "fake-1",
        "prompt": prompt,
        "seconds": Decimal(4),
        "size": "720x1280",
    }
    values |= changes
    return VideoRequest(**{**values, "seconds": Decimal(values["seconds"])})


async def ended(adapter: Adapter, handle: Handle) -> Status:
    """Poll to the end of the job, faster than an upstream would like it."""
    async with asyncio.timeout(20):
        while True:
            status = await adapter.poll(handle)
            if not isinstance(status, Running):
                return status
            await asyncio.sleep(min(0.05, status.poll_after or adapter.poll_interval))
