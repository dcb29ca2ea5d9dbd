"""A real HTTP server on 127.0.0.1 that plays a customer's webhook receiver."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Hit"], Awaitable[int]]


@dataclass
class Hit:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    port: int = 0
    hits: list[Hit] = field(default_factory=list)
    answer: Answer | None = None
    extra: str = ""  # further header lines of the answer
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}{path}"

    async def got(self, count: int, seconds: float = 10.0) -> list[Hit]:
        """Wait for that many requests."""
        async with asyncio.timeout(seconds):
            while len(self.hits) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.hits

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                hit = Hit(head[0].split(" ")[1], headers, body)
                self.hits.append(hit)
                self._arrived.set()
                status = 200 if self.answer is None else await self.answer(hit)
                writer.write(f"HTTP/1.1 {status} X\r\n{self.extra}content-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(answer: Answer | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer=answer)
    server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def status(code: int) -> Answer:
    async def answer(_hit: Hit) -> int:
        return code

    return answer


async def never(_hit: Hit) -> int:
    await asyncio.sleep(3600)
    return 200
