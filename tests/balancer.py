"""A small load balancer for tests: connections go, in turn, to the backends that say they are ready."""

import asyncio
import contextlib
import itertools
import threading
from types import TracebackType
from typing import Self

from tests.server import free_port

_CHECK_SECONDS = 0.1


class Balancer:
    """Passes bytes through. A connection stays with its backend; nothing is retried."""

    def __init__(self) -> None:
        self.port = free_port()
        self.backends: set[int] = set()
        """Ports of 127.0.0.1; may change at any time."""
        self.ready: set[int] = set()
        self.refused = 0
        self._turn = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._tasks.add(asyncio.create_task(self._check()))

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _check(self) -> None:
        while True:
            ports = sorted(self.backends)
            answers = await asyncio.gather(*(self._is_ready(port) for port in ports))
            self.ready = {port for port, ready in zip(ports, answers, strict=True) if ready}
            await asyncio.sleep(_CHECK_SECONDS)

    async def _is_ready(self, port: int) -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: backend\r\nConnection: close\r\n\r\n")
                line = await reader.readline()
                writer.close()
                return b" 200 " in line
        return False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports = sorted(self.ready)
        try:
            if not ports:
                raise ConnectionError("no backend is ready")
            port = ports[next(self._turn) % len(ports)]
            back, forth = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            self.refused += 1
            writer.close()
            return
        await asyncio.gather(self._pump(reader, forth), self._pump(back, writer), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
