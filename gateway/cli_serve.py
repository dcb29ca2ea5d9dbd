"""`onereel serve`: one process, one event loop, one lock."""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from pydantic import SecretStr

from gateway.app import create_app
from gateway.cli_terminal import CommandError, say
from gateway.lock import DataLock, RunningServer, running_server
from gateway.media.identity import IdentityError, SigningIdentity
from gateway.settings import Settings
from providers.http import HttpDoor
from providers.registry import build_adapter

_KEEP_ALIVE_SECONDS = 65  # longer than any common client or load balancer keeps an idle connection
_DRAIN_SECONDS = 5
_GC_OBJECTS = (
    5000  # new containers between two collections; Python's own 700 is less than one busy millisecond
)


class _Server(uvicorn.Server):
    """Calls `listening` once connections are accepted."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._listening()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. CommandError if an upstream is configured wrongly, the data directory is taken or
    the address cannot be bound."""
    _check_upstreams(settings)
    _check_identity(settings)
    lock = _take_lock(settings)
    with contextlib.closing(_bind(settings.host, settings.port)) as listener:
        url = _url(settings.host, listener.getsockname()[1])
        token = secrets.token_urlsafe(32)
        app = create_app(settings.model_copy(update={"control_token": SecretStr(token)}))

        def listening() -> None:
            _spare_the_collector()
            if lock is not None:
                lock.announce(RunningServer(os.getpid(), url, token))
            say(f"onereel listens on {url} (API reference: {url}/docs). Stop it with Ctrl-C.")

        config = uvicorn.Config(
            app,
            loop="uvloop" if sys.platform != "win32" else "asyncio",
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        server = _Server(config, listening)
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn raises the signal again after an orderly end; a stop that was asked for is no failure.
            signal.signal(number, lambda *_: None)
        try:
            server.run(sockets=[listener])
        except asyncio.CancelledError:
            pass
        finally:
            if lock is not None:
                lock.release()
    if not server.started:
        raise CommandError("The server did not start; the reason is above.")


def _check_upstreams(settings: Settings) -> None:
    """CommandError for an upstream that no video could be sent to."""
    for upstream in settings.upstreams:
        try:
            build_adapter(upstream, HttpDoor())
        except ValueError as error:
            raise CommandError(
                f"{error}. Correct it in onereel.toml, or the variable that switches the upstream on."
            ) from None


def _check_identity(settings: Settings) -> None:
    """CommandError for configured certificates that no claim could be signed with."""
    if settings.provenance.c2pa == "off" or settings.provenance.certificates is None:
        return
    try:
        _ = SigningIdentity(settings).loaded
    except IdentityError as error:
        raise CommandError(f"{error}.") from None


def _spare_the_collector() -> None:
    """What the start made stays for good: walking it again and again costs a fifth of every request and 0.1 s pauses."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS, 10, 10)


def _take_lock(settings: Settings) -> DataLock | None:
    lock = DataLock(settings.data_dir)
    try:
        if lock.acquire():
            return lock
    except OSError as error:
        raise CommandError(
            f"The data directory {settings.data_dir.absolute()} cannot be used ({error.strerror}). "
            "Set ONEREEL_DATA_DIR to a folder that can be written."
        ) from None
    if settings.resolved_database_url.startswith("postgresql"):
        return None  # any number of servers may share a PostgreSQL database
    other = running_server(settings.data_dir)
    where = f" at {other.url}" if other and other.url else ""
    raise CommandError(
        f"Another onereel (process {other.pid if other else '?'}{where}) already serves "
        f"{settings.data_dir.absolute()}. SQLite takes one server; to run several, put the data in PostgreSQL: "
        "ONEREEL_DATABASE_URL=postgresql://user:password@host/database"
    )


def _bind(host: str, port: int) -> socket.socket:
    """Bind without listening: until the server is up, connections are refused."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {host}:{port} ({error.strerror}). Choose another with --port or ONEREEL_PORT."
        ) from None
    return listener


def _url(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
