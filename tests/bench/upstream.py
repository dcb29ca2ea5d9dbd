"""The mock upstream of every measure: OpenAI's Videos API where each video is completed at once.

nginx serves it where there is one, else a small event loop of our own: neither may be the bottleneck.
Paths are /{clip}/v1/videos..., so that one server offers clips of several lengths.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from providers.testing_media import mp4
from tests.server import free_port

CLIPS: Final = {"small": 0, "mega": 1_000_000, "large": 20 * 1024 * 1024}
"""Bytes per clip by name; 0 is as small as a real video gets."""

SECONDS: Final = 4
SIZE: Final = "720x1280"
_VIDEO: Final = (
    '{{"id":"video_{clip}","object":"video","model":"sora-2","status":"{status}","progress":{progress},'
    f'"created_at":1700000000,"size":"{SIZE}","seconds":"{SECONDS}"}}}}'
)
NEVER: Final = "never"
"""The clip whose videos are never completed."""

POLL_AFTER_MS: Final = 50


def created(clip: str) -> str:
    """The answer to a create. The id says which clip: LiteLLM forgets through which deployment it came."""
    return _VIDEO.format(clip=clip, status="queued", progress=0)


def polled(clip: str) -> str:
    """The answer to a status request."""
    if clip == NEVER:
        return _VIDEO.format(clip=clip, status="in_progress", progress=1)
    return _VIDEO.format(clip=clip, status="completed", progress=100)


_NGINX: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
{user}
events {{ worker_connections 2048; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {servers}
}}
"""
_MOCK: Final = """
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    default_type application/json;
    location ~ ^/([a-z]+)/v1/videos$ {{ add_header openai-poll-after-ms {poll}; return 200 '{created}'; }}
    location ~ ^/[a-z]+/v1/videos/video_never$ {{ return 200 '{running}'; }}
    location ~ ^/[a-z]+/v1/videos/video_([a-z]+)$ {{ return 200 '{completed}'; }}
    location ~ ^/[a-z]+/v1/videos/video_([a-z]+)/content$ {{ default_type video/mp4; alias {folder}/$1.mp4; }}
  }}
"""


def find_nginx() -> str | None:
    """The nginx of this machine; root's PATH need not have it."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def nginx(folder: Path, servers: str, core: str) -> list[str]:
    """The command of one nginx worker with these servers, pinned to a core."""
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, user=user, servers=servers))
    return [*pinned(core), str(find_nginx()), "-c", str(config)]


def pinned(core: str) -> list[str]:
    """What to put before a command so that it stays on one core, and, for root, ahead of what else runs here."""
    before = ["nice", "-n", "-15"] if os.geteuid() == 0 and shutil.which("nice") else []
    many = (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return [*before, "taskset", "-c", core] if many else before


class Mock:
    """The mock as a process on its core, from `with` to the end of the block."""

    def __init__(self, folder: Path, core: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._core = core
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, clip: str) -> str:
        """The base URL of an upstream whose videos are this clip."""
        return f"http://127.0.0.1:{self.port}/{clip}/v1"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        video = mp4(720, 1280, Fraction(SECONDS))
        for name, length in CLIPS.items():
            # a real video does not compress, and LiteLLM would try
            noise = os.urandom(length - len(video) - 8) if length else b""
            box = (len(noise) + 8).to_bytes(4, "big") + b"free"
            (self._folder / f"{name}.mp4").write_bytes(video + box + noise)
        if find_nginx():
            server = _MOCK.format(
                port=self.port,
                poll=POLL_AFTER_MS,
                created=created("$1"),
                completed=polled("$1"),
                running=polled(NEVER),
                folder=self._folder,
            )
            command = nginx(self._folder / "nginx", server, self._core)
        else:
            module = [sys.executable, "-m", "tests.bench.upstream_loop", str(self.port), str(self._folder)]
            command = [*pinned(self._core), *module]
        self._process = subprocess.Popen(command)
        try:
            wait_until_answers(f"{self.url('small')}/videos/video_small", timeout=20)
        except TimeoutError:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def wait_until_answers(url: str, timeout: float = 120, key: str = "") -> float:
    """Ask until the URL answers 200; answers the seconds it took. TimeoutError when it does not."""
    started = time.monotonic()
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    while time.monotonic() < started + timeout:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return time.monotonic() - started
        except OSError:
            time.sleep(0.01)
    raise TimeoutError(f"{url} did not answer in {timeout} s")
