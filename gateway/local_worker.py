"""The bundled diffusion worker: started, watched, restarted and stopped by the gateway, reached over loopback.

The gateway knows the worker by its command line and its HTTP answers only; no line here imports it or torch.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog
from pydantic import SecretStr

from gateway.settings import Local, Settings
from providers.configured import LOCAL_IN_FLIGHT
from providers.presets import Preset
from providers.spec import UpstreamSpec

log = structlog.get_logger(__name__)

UPSTREAM_NAME: Final = "local"

_HOST: Final = "127.0.0.1"
_FIRST_DELAY: Final = 0.5  # seconds before the first restart; doubled each time
_LAST_DELAY: Final = 30.0
_SETTLED_SECONDS: Final = 30.0  # a worker that lived this long starts the back-off anew
_PORT_SECONDS: Final = 60.0  # from exec to its first line: Python starts slowly on a crowded machine
_HEALTH_TIMEOUT: Final = 5.0
_READ_BYTES: Final = 64 * 1024
_OF_PROCESS: Final = re.compile(rb"(?:# \w+ )?process_")

# The worker needs no secret of ours: only what Python, torch and a GPU driver read.
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "VIRTUAL_ENV")
_ENVIRONMENT_PREFIXES: Final = (
    "CUDA", "NVIDIA", "HIP", "ROCR", "HSA", "LC_", "LD_", "DYLD_", "MKL", "OMP_", "TORCH", "PYTORCH", "XDG_",
)  # fmt: skip


class WorkerState(StrEnum):
    """What the supervisor knows of its worker; the last three are the worker's own words."""

    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"


_UP: Final = frozenset({WorkerState.READY, WorkerState.BUSY})


def wanted(settings: Settings) -> bool:
    """Whether this gateway shall run a worker: as configured, else when the `local` extra is installed."""
    local = settings.local
    if local.enabled is not None:
        return local.enabled
    return local.python is not None or bool(find_spec("torch") and find_spec("diffusers"))


class Place:
    """Where a worker will be, and the bearer it will ask for: known before there is one, and to every process of `serve`.

    Its port is held for the gateway's whole life (bound, not listening), so that while there is no worker a
    connection is refused, and after a restart the same address works again.
    """

    def __init__(self, local: Local) -> None:
        self.token: Final = secrets.token_urlsafe(32)
        self._held, self.port = _hold_port()
        self.upstream: Final = _upstream(self.port, self.token, local)

    def close(self) -> None:
        """Let the port go."""
        self._held.close()


class LocalWorker:
    """Runs one worker process. `upstream` is known and stays the same from the start, whatever the worker does."""

    def __init__(
        self,
        settings: Settings,
        *,
        place: Place | None = None,
        on_ready: Callable[[UpstreamSpec], None] | None = None,
        on_down: Callable[[], None] | None = None,
        health_seconds: float = 2.0,
        silent_seconds: float = 30.0,
    ) -> None:
        """`health_seconds`: pause between checks; `silent_seconds`: without an answer it is killed."""
        self.state = WorkerState.STOPPED
        self.pid: int | None = None
        self.restarts = 0
        self._settings = settings
        self._on_ready = on_ready or (lambda _upstream: None)
        self._on_down = on_down or (lambda: None)
        self._health_seconds = health_seconds
        self._silent_seconds = silent_seconds
        self._place = place or Place(settings.local)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self.upstream: Final = self._place.upstream

    async def run(self) -> None:
        """Keep a worker running until `stop`."""
        self._ended.clear()
        try:
            await self._keep_alive()
        finally:
            self._enter(WorkerState.STOPPED)
            self._ended.set()

    async def stop(self) -> None:
        """End the worker: SIGTERM, and SIGKILL after the grace period. Returns when it is gone."""
        self._stopping.set()
        await self._ended.wait()
        self._place.close()

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            started = loop.time()
            self._enter(WorkerState.STARTING)
            try:
                await self._one_life()
            except OSError as error:
                log.warning("worker_not_started", error=str(error))
            if self._stopping.is_set():
                return
            self._enter(WorkerState.STOPPED)
            delay = _FIRST_DELAY if loop.time() - started > _SETTLED_SECONDS else delay
            log.warning("worker_lost", restart_in_seconds=delay)
            await self._pause(delay)
            delay = min(_LAST_DELAY, delay * 2)
            self.restarts += 1

    async def _one_life(self) -> None:
        """From exec to exit. Returns when the process is gone, for whatever reason."""
        process = await asyncio.create_subprocess_exec(
            *self._command(),
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is the gateway's to handle
        )
        self.pid = process.pid
        exited = asyncio.create_task(process.wait())
        try:
            if await self._listening(process):
                await self._watch(exited)
        finally:
            self.pid = None
            await _end(process, exited, self._settings.jobs.shutdown_grace_seconds)

    async def _listening(self, process: asyncio.subprocess.Process) -> bool:
        """Read the line that names the port; False if it does not come."""
        if process.stdout is None:
            raise AssertionError("the worker was started with a pipe")
        stopping = asyncio.create_task(self._stopping.wait())
        line = asyncio.create_task(process.stdout.readline())
        done, _ = await asyncio.wait(
            {stopping, line}, timeout=_PORT_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (stopping, line):
            task.cancel()
        if line not in done:
            return False
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return bool(json.loads(line.result())["port"] == self._place.port)
        return False

    async def _watch(self, exited: asyncio.Task[int]) -> None:
        """Ask for its health until it exits, falls silent or we stop."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while not exited.done() and not self._stopping.is_set():
            state = await self._health()
            if state is not None:
                heard = loop.time()
                self._enter(state)
            elif loop.time() - heard > self._silent_seconds:
                log.warning("worker_silent", seconds=self._silent_seconds)
                return
            pause = self._health_seconds if self.state in _UP else min(0.25, self._health_seconds)
            await self._pause(pause, exited)

    async def _health(self) -> WorkerState | None:
        """The worker's own word, None without a proper answer."""
        try:
            return WorkerState(json.loads(await self._get("/health"))["status"])
        except (OSError, TimeoutError, ValueError, KeyError, TypeError):
            return None

    async def exposition(self) -> bytes:
        """What the worker tells Prometheus, but not what the system says of its process: that is told of ours. Nothing
        while it does not answer."""
        if self.state is WorkerState.STOPPED:
            return b""
        try:
            lines = (await self._get("/metrics")).splitlines(keepends=True)
        except (OSError, TimeoutError):
            return b""
        return b"".join(line for line in lines if not _OF_PROCESS.match(line))

    async def _get(self, path: str) -> bytes:
        """Read one answer, whole."""
        head = f"GET {path} HTTP/1.1\r\nHost: worker\r\nAuthorization: Bearer {self._place.token}\r\n"
        async with asyncio.timeout(_HEALTH_TIMEOUT):
            reader, writer = await asyncio.open_connection(_HOST, self._place.port)
            try:
                writer.write(f"{head}Connection: close\r\n\r\n".encode())
                answer = await reader.read(_READ_BYTES)
                while chunk := await reader.read(_READ_BYTES):
                    answer += chunk
            finally:
                writer.close()
        return answer.partition(b"\r\n\r\n")[2]

    def _enter(self, state: WorkerState) -> None:
        before, self.state = self.state, state
        if state in _UP and before not in _UP:
            log.info("worker_ready", pid=self.pid)
            self._on_ready(self.upstream)
        elif before in _UP and state not in _UP:
            self._on_down()

    async def _pause(self, seconds: float, *until: asyncio.Task[int]) -> None:
        """Wait, but not beyond `stop` or the end of a task."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping, *until}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    def _command(self) -> list[str]:
        local, data = self._settings.local, self._settings.data_dir.absolute()
        return [
            local.python or sys.executable,
            "-m",
            "local_backend",
            f"--port={self._place.port}",
            *worker_options(local, data),
            f"--work-dir={data / 'local-worker'}",
            f"--parent-pid={os.getpid()}",
        ]

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
        }
        if self._settings.local.python is None:
            # The same code as ours, also where it runs from a checkout that is not installed.
            kept["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
        return {**kept, "ONEREEL_WORKER_TOKEN": self._place.token}


def worker_options(local: Local, data_dir: Path) -> list[str]:
    """The worker's command line as the settings want it. Own models are written to a file in the data directory."""
    options = [
        f"--device={local.device}",
        f"--models={','.join(local.models)}",
        f"--pinned={','.join(local.pinned)}",
        f"--batch={local.batch}",
        *models_options(local, data_dir),
    ]
    if local.memory_bytes is not None:
        options.append(f"--memory-bytes={local.memory_bytes}")
    if local.features is not None:
        options.append(f"--features={','.join(local.features)}")
    return options


def models_options(local: Local, data_dir: Path) -> list[str]:
    """Where the worker's models are, and which the operator added."""
    options = [f"--models-dir={(local.models_dir or data_dir / 'models').absolute()}"]
    if local.own_models:
        options.append(f"--own-models={_written(local.own_models, data_dir)}")
    return options


def _written(own_models: Sequence[Preset], data_dir: Path) -> Path:
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir.absolute() / "own-models.json"
    rows = [own.model_dump(mode="json", exclude_unset=True) for own in own_models]
    path.write_text(json.dumps(rows))
    return path


def _hold_port() -> tuple[socket.socket, int]:
    """Take a free loopback port without listening on it; where the system cannot share it, only choose it."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    shared = hasattr(socket, "SO_REUSEPORT")
    if shared:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((_HOST, 0))
    port: int = held.getsockname()[1]
    if not shared:
        held.close()
    return held, port


async def _end(process: asyncio.subprocess.Process, exited: asyncio.Task[int], grace: float) -> None:
    """SIGTERM, `grace` seconds, SIGKILL. Returns when the process is reaped."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    done, _ = await asyncio.wait({exited}, timeout=grace)
    if not done:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await exited


def _upstream(port: int, token: str, local: Local) -> UpstreamSpec:
    presets = local.presets
    return UpstreamSpec(
        name=UPSTREAM_NAME,
        type="local",
        base_url=f"http://{_HOST}:{port}/v1",
        api_key=SecretStr(token),
        options={"dialect": "local"},
        max_concurrent=LOCAL_IN_FLIGHT * local.batch,
        models=tuple(presets[name] for name in local.models),
    )
