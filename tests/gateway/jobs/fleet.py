"""Workers on several addresses of this machine: the worker's own HTTP server and queue, with an engine the test holds."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from local_backend.jobs import Jobs
from local_backend.server import Served, create_app
from providers.configured import configured
from providers.presets import all_presets
from providers.spec import UpstreamSpec
from tests.local_backend.held import HeldEngine
from tests.server import free_port

TOKEN = "shared-by-the-fleet"
MODEL = "onereel/tiny-random"
OTHER = "local/wan2.2-5b"
NAME = "gpu.test"


class Worker:
    """One worker at an address; `stop` is as sudden as the end of a process."""

    def __init__(self, folder: Path, address: str, port: int, models: Sequence[str]) -> None:
        self.address, self.engine = address, HeldEngine()
        self._folder, self._port, self._models = folder / address, port, models
        self._server: uvicorn.Server | None = None

    def url(self, video_id: str) -> str:
        """Where one of its videos is."""
        return f"http://{self.address}:{self._port}/v1/videos/{video_id}"

    async def start(self) -> None:
        """Serve, with nothing remembered of an earlier life."""
        self._jobs = Jobs(self._folder / "work", lambda: self.engine, keep=60)
        served = Served({name: all_presets()[name] for name in self._models}, self._folder / "models")
        app = create_app(self._jobs, self._folder / "work", TOKEN, served)
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=0)
        self._server = uvicorn.Server(config)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.address, self._port))
        self._listener.listen(128)
        self._jobs.start()
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()
        while not self._server.started or self._jobs.engine is None:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Nobody listens any more, and its jobs are gone."""
        if self._server is None:
            return
        self._server.should_exit = self._server.force_exit = True
        await asyncio.to_thread(self._thread.join, 10)
        self._listener.close()
        self._server = None
        await asyncio.to_thread(self._jobs.abort)


class Fleet:
    """Workers that share a port and a name, which leads to `addresses`."""

    def __init__(self, workers: Sequence[Worker], port: int) -> None:
        self.workers = workers
        self.addresses = [worker.address for worker in workers]
        self.upstream = fleet_upstream(port, max_concurrent=1)

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        """Answer as DNS would."""
        assert host == NAME
        if not self.addresses:
            raise OSError("no such name")
        return self.addresses


def fleet_upstream(port: int, **changes: object) -> UpstreamSpec:
    table = {"name": "gpu", "type": "local", "base_url": f"http://{NAME}:{port}/v1", "api_key": TOKEN}
    return configured({**table, "models": [MODEL], **changes})


@asynccontextmanager
async def fleet(folder: Path, *models: Sequence[str]) -> AsyncIterator[Fleet]:
    """Workers at 127.0.0.2 and so on, each of which serves these models."""
    port = free_port()
    workers = [Worker(folder, f"127.0.0.{n}", port, each) for n, each in enumerate(models, start=2)]
    try:
        for worker in workers:
            await worker.start()
        yield Fleet(workers, port)
    finally:
        for worker in workers:
            worker.engine.gate.set()
            await worker.stop()
