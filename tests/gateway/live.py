"""A whole gateway on a real socket, in a thread of the test process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import uvicorn
from sqlalchemy import make_url

from gateway.app import create_app
from gateway.clock import Clock
from gateway.migrate import ensure_schema
from gateway.settings import Settings
from providers.sockets import Resolver, system_addresses

ADMIN_KEY = "sk-admin-of-the-tests"


@dataclass(frozen=True)
class Live:
    """A running gateway."""

    base_url: str
    settings: Settings

    def client(self, **options: Any) -> httpx.Client:
        """Call it as the operator."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=30, verify=False, **options)


def settings_for(data_dir: Path, **changes: Any) -> Settings:
    """Settings of a test: one operator key, no worker."""
    fixed: dict[str, Any] = {"admin_key": ADMIN_KEY, "log_level": "ERROR", "local": {"enabled": False}}
    return Settings(data_dir=data_dir, **{**fixed, **changes})


@cache
def _migrated() -> bytes:
    """A SQLite file as the first start of a gateway leaves it."""
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        settings = Settings(data_dir=Path(folder))
        thread.submit(asyncio.run, ensure_schema(settings)).result()
        return _sqlite_file(settings).read_bytes()


def _sqlite_file(settings: Settings) -> Path:
    return Path(str(make_url(settings.resolved_database_url).database))


def migrated(settings: Settings) -> Settings:
    """The same settings; where their SQLite file is missing it is there now, so that no test migrates it anew."""
    if settings.resolved_database_url.startswith("sqlite") and not _sqlite_file(settings).exists():
        _sqlite_file(settings).parent.mkdir(parents=True, exist_ok=True)
        _sqlite_file(settings).write_bytes(_migrated())
    return settings


@contextmanager
def live(
    settings: Settings, clock: Clock | None = None, *, resolve: Resolver = system_addresses
) -> Iterator[Live]:
    """Serve until the block ends; the lifespan runs in full both ways."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        config = uvicorn.Config(
            create_app(migrated(settings), clock=clock, resolve=resolve),
            log_config=None,
            access_log=False,
            lifespan="on",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            _wait(base_url, thread)
            yield Live(base_url, settings)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def _wait(base_url: str, thread: threading.Thread) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=50, verify=False)) as client:
        while thread.is_alive() and client.get(f"{base_url}/health/live").status_code != 200:
            threading.Event().wait(0.05)
    assert thread.is_alive(), "the gateway did not start"
