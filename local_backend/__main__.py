"""`python -m local_backend`: listen, say where on stdout as one JSON line, then load the model and work."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import uvicorn
from litestar import Litestar

from local_backend.jobs import Jobs, Makes
from local_backend.lifetime import follow_parent, own_folder
from local_backend.server import Served, create_app
from providers.presets import DEFAULT_MODEL, Preset, all_presets, preset

_KEEP_SECONDS = 1800
_DRAIN_POLL_SECONDS = 0.1


def main() -> None:
    """Run until SIGTERM or the parent's death."""
    options = _options()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
    token = _token(options.token_file)
    if not token and options.host not in {"127.0.0.1", "::1", "localhost"}:
        sys.exit(
            "Give --token-file or set ONEREEL_WORKER_TOKEN: without a token the worker listens on loopback only."
        )
    work_dir = own_folder(options.work_dir or Path(tempfile.gettempdir()) / "onereel-worker")
    if options.parent_pid:
        follow_parent(options.parent_pid, work_dir)
    listener = _listen(options.host, options.port)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)  # noqa: T201  (the documented output)
    os.dup2(2, 1)  # whatever a library prints from here on must not fill a pipe that nobody reads
    presets = _presets(options.models, options.own_models)
    served = Served(presets, options.models_dir)
    jobs = Jobs(work_dir, lambda: _load(options, presets), keep=options.keep_seconds, batch=options.batch)
    jobs.start()
    try:
        asyncio.run(_serve(jobs, create_app(jobs, work_dir, token, served), listener, options.drain_seconds))
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)
    logging.shutdown()
    os._exit(0)  # a kernel that still runs in the job thread must not hold the process


def _options() -> argparse.Namespace:
    data_dir = Path(os.environ.get("ONEREEL_DATA_DIR", "onereel-data"))
    parser = argparse.ArgumentParser(
        prog="onereel worker",
        description="onereel's diffusion worker: an HTTP server that speaks OpenAI's Videos API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; anything but loopback needs a token")
    add("--port", type=int, default=0, help="port to listen on; 0 chooses a free one, which stdout tells")
    add("--token-file", type=Path, help="file with the bearer token of callers, for ONEREEL_WORKER_TOKEN")
    add("--device", default="cpu", help="what generates: cpu, cuda, cuda:1, mps ...")
    add("--models", default=DEFAULT_MODEL, help="names, with commas; the first is loaded at the start")
    add("--pinned", default="", help="names, with commas, that are loaded at the start too, and stay")
    add("--own-models", type=Path, help="JSON file: rows as in [[local.own_models]] of onereel.toml")
    add("--memory-bytes", type=int, help="memory for the weights of all loaded models; None is no bound")
    add("--models-dir", type=Path, default=data_dir / "models", help="where the folders of weights lie")
    add("--work-dir", type=Path, help="where uploads and finished files lie; None is a temporary folder")
    add("--parent-pid", type=int, help="end when this process ends")
    add("--features", help="names, with commas, of docs/local-backend.md; None: the measured ones")
    add("--batch", type=int, default=1, help="how many videos that are alike are made in one call at most")
    add("--threads", type=int, default=1, help="CPU threads of the model")
    add("--keep-seconds", type=float, default=_KEEP_SECONDS, help="how long finished files are kept")
    add("--drain-seconds", type=float, default=0, help="how long running jobs may go on after SIGTERM")
    return parser.parse_args()


def _token(file: Path | None) -> str:
    """What callers have to bear: the file's first line, else ONEREEL_WORKER_TOKEN."""
    given = os.environ.pop("ONEREEL_WORKER_TOKEN", "")
    if file is None:
        return given
    try:
        token = file.read_text().strip()
    except OSError as error:
        sys.exit(f"--token-file {file} cannot be read: {error.strerror}.")
    if not token or len(token.split()) != 1:
        sys.exit(f"--token-file {file} must hold the token, and nothing else.")
    return token


def _listen(host: str, port: int) -> socket.socket:
    """Bind with SO_REUSEPORT, so that a supervisor may hold the port (bound, not listening) between workers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


def _presets(names: str, own_models: Path | None) -> dict[str, Preset]:
    """The models to serve, in this order."""
    own = [] if own_models is None else [preset(row) for row in json.loads(own_models.read_text())]
    known, wanted = {**all_presets(), **{each.id: each for each in own}}, _names(names)
    if not wanted or any(name not in known for name in wanted):
        sys.exit(f"--models takes names of {', '.join(known)}, with commas between; not '{names}'.")
    return {name: known[name] for name in wanted}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _load(options: argparse.Namespace, presets: Mapping[str, Preset]) -> Makes:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = os.environ["DIFFUSERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    from local_backend.engine import Engine

    return Engine(
        options.models_dir,
        options.device,
        options.threads,
        list(presets.values()),
        budget=options.memory_bytes,
        pinned=_names(options.pinned),
        features=None if options.features is None else _names(options.features),
    )


class _Server(uvicorn.Server):
    """Leaves the signals to us: draining takes longer than uvicorn's own shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(jobs: Jobs, app: Litestar, listener: socket.socket, drain_seconds: float) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await stop.wait()
    jobs.drain()
    await _drained(jobs, hurry, drain_seconds)
    await asyncio.to_thread(jobs.abort)
    server.should_exit = True
    await serving


async def _drained(jobs: Jobs, hurry: asyncio.Event, seconds: float) -> None:
    """Give what runs its time; a second signal cuts it short."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not jobs.idle and not hurry.is_set() and loop.time() < end:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), _DRAIN_POLL_SECONDS)


if __name__ == "__main__":
    main()
