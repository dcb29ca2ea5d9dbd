"""`onereel serve`: one process with one event loop, or several behind one port."""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from pydantic import SecretStr

from gateway.app import create_app
from gateway.cli_terminal import CommandError, say
from gateway.crypto import open_secret_box
from gateway.group import Group
from gateway.http.connection import Connection
from gateway.local_worker import Place, wanted
from gateway.lock import DataLock, RunningServer, running_server
from gateway.logs import configure_logging
from gateway.media.identity import IdentityError, SigningIdentity
from gateway.process import Stopping
from gateway.settings import Role, Settings
from gateway.supervisor import Child, Supervisor
from gateway.telemetry_group import forget_others
from providers.http import HttpDoor
from providers.registry import build_adapter

_KEEP_ALIVE_SECONDS = 65  # longer than any common client or load balancer keeps an idle connection
_DRAIN_SECONDS = 5
_LAST_SECONDS = 15  # to hand jobs over and close connections, before SIGKILL
_GC_OBJECTS = (
    5000  # new containers between two collections; Python's own 700 is less than one busy millisecond
)


class _Server(uvicorn.Server):
    """Calls `listening` once connections are accepted; drains before it ends; one of a group ends with its parent."""

    def __init__(
        self,
        config: uvicorn.Config,
        listening: Callable[[], None],
        stopping: Stopping,
        drain: float,
        *,
        of_group: bool,
    ) -> None:
        super().__init__(config)
        self._listening = listening
        self._stopping = stopping
        self._drain_seconds = drain
        self._drained: float | None = None
        self._parent = os.getppid() if of_group else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """At SIGTERM serve on for a while, so that whoever sends requests can turn elsewhere first."""
        self._stopping.drain()
        if sig != signal.SIGTERM or not self._drain_seconds or not self.started or self._drained is not None:
            super().handle_exit(sig, frame)
            return
        self._drained = time.monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        is_drained = self._drained is not None and time.monotonic() >= self._drained
        if is_drained or (self._parent is not None and os.getppid() != self._parent):
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams, then everything else."""
        self._stopping.close()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. CommandError if an upstream is configured wrongly, the data directory is taken or
    the address cannot be bound."""
    _check_upstreams(settings)
    _check_identity(settings)
    groups = _groups(settings)
    _raise_file_limit()
    lock = _take_lock(settings)
    with contextlib.closing(_bind(settings.host, settings.port)) as listener:
        token, port = secrets.token_urlsafe(32), listener.getsockname()[1]
        settings = settings.model_copy(update={"control_token": SecretStr(token), "port": port})
        url = settings.model_copy(update={"public_url": None}).reached_at

        def listening() -> None:
            if lock is not None:
                lock.announce(RunningServer(os.getpid(), url, token))
            say(
                f"onereel listens on {url}: the dashboard there, the API under {url}/v1. Stop it with Ctrl-C."
            )

        try:
            if len(groups) == 1:
                started = _run(settings, listener, listening)
            else:
                started = _supervise(settings, groups, listener, listening)
        finally:
            if lock is not None:
                lock.release()
    if not started:
        raise CommandError("The server did not start; the reason is above.")


def _raise_file_limit() -> None:
    """Every event stream is an open file, and many systems begin with 1024."""
    if sys.platform != "win32":
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _groups(settings: Settings) -> list[tuple[Role, ...]]:
    """The roles of each process. Where there are several, one of them runs the jobs of those that serve the API."""
    if settings.workers == 1:
        return [settings.roles]
    if not settings.resolved_database_url.startswith("postgresql"):
        raise CommandError(
            f"--workers {settings.workers} needs PostgreSQL, which several processes can share: "
            "ONEREEL_DATABASE_URL=postgresql://user:password@host/database"
        )
    if "api" in settings.roles:
        serving: list[tuple[Role, ...]] = [("api",)] * settings.workers
        return [*serving, ("jobs",)] if "jobs" in settings.roles else serving
    if wanted(settings):
        raise CommandError(
            "Several job processes cannot share one local worker: set ONEREEL_LOCAL__ENABLED=false, run `onereel "
            "worker` beside them and name it in [[upstreams]]."
        )
    return [("jobs",)] * settings.workers


def _supervise(
    settings: Settings,
    groups: Sequence[tuple[Role, ...]],
    listener: socket.socket,
    listening: Callable[[], None],
) -> bool:
    configure_logging(settings.log_format, settings.log_level)
    open_secret_box(settings)  # made once, for all of them
    if settings.provenance.c2pa != "off":
        _ = SigningIdentity(settings).loaded
    group = Group(Place(settings.local) if wanted(settings) else None, settings.data_dir / "metrics")
    forget_others(group.metrics)

    def child(number: int, roles: tuple[Role, ...]) -> Child:
        own, together = settings.model_copy(update={"roles": roles}), replace(group, speaks=number == 0)
        shared = "api" in roles or "api" not in settings.roles

        def work(serving: Callable[[], None]) -> None:
            if shared:
                if not _run(own, listener, serving, together):
                    sys.exit(1)
            else:
                with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                    runner.run(_only_jobs(own, serving, together))

        return Child(f"{roles[0]} {number + 1}", work)

    grace = settings.drain_seconds + _DRAIN_SECONDS + settings.jobs.shutdown_grace_seconds + _LAST_SECONDS
    supervisor = Supervisor([child(number, roles) for number, roles in enumerate(groups)], grace)
    gc.freeze()
    try:
        return supervisor.run(listening, listener.close)
    finally:
        if group.place is not None:
            group.place.close()


def _run(
    settings: Settings, listener: socket.socket, listening: Callable[[], None], group: Group | None = None
) -> bool:
    """Serve in this process until a signal comes. False if it did not start."""
    app = create_app(settings, group=group)

    def ready() -> None:
        _spare_the_collector()
        listening()

    config = uvicorn.Config(
        app,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=cast(
            "type[asyncio.Protocol]", partial(Connection, header_seconds=settings.limits.header_seconds)
        ),
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
    server = _Server(config, ready, app.state["stopping"], settings.drain_seconds, of_group=group is not None)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again after an orderly end; a stop that was asked for is no failure.
        signal.signal(number, lambda *_: None)
    with contextlib.suppress(asyncio.CancelledError, SystemExit):  # the latter where it could not start
        server.run(sockets=[listener])
    return server.started


async def _only_jobs(settings: Settings, serving: Callable[[], None], group: Group) -> None:
    """Run the jobs of processes that serve the API: without a port, until a signal comes or the parent is gone."""
    app = create_app(settings, group=group)
    ended = asyncio.Event()
    parent = os.getppid()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with app.lifespan():
        _spare_the_collector()
        serving()
        while not ended.is_set() and os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


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
