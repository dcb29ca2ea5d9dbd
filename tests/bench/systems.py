"""What is measured: onereel, LiteLLM's proxy and nginx as the floor, each a process tree pinned to one core."""

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from tests.bench.upstream import NEVER, Mock, nginx, pinned, wait_until_answers
from tests.server import ROOT, Server, free_port, serve_command, upstream_table

LITELLM: Final = ROOT / ".venvs" / "litellm" / "bin" / "litellm"
LITELLM_VERSION: Final = "litellm[proxy]==1.106.2"
MASTER_KEY: Final = "sk-bench-0123456789abcdef"
PARKED: Final = "bench/parked"
"""A model whose upstream takes one video and never ends it: every other job waits, so a create is only a create."""
BELIEVED_SECONDS: Final = 1.2
"""So long a process may go by terms that have changed since."""
PLAN: Final = """
[[plans]]
id = "bench"
models = ["bench/*"]
max_seconds = "60"
max_short_edge = 2160
concurrent_videos = 100000
requests_per_minute = 1000000
queue = "fast"
fast_videos_per_month = 1000000
retention_days = 30
"""
"""A plan that limits everything, far above what the bench does."""


def model_of(clip: str) -> str:
    """The model that makes this clip."""
    return f"bench/{clip}"


class System(ABC):
    """One thing under test."""

    name: str
    base_url: str
    key: str

    @abstractmethod
    def start(self) -> float:
        """Start it; answers the seconds until it could take a request."""

    @abstractmethod
    def stop(self) -> None:
        """End it."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The first process of its tree."""

    @property
    def keys(self) -> Sequence[str]:
        """The keys that its load takes in turn."""
        return (self.key,)

    def tree(self) -> list[psutil.Process]:
        """Its processes."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """User and system time of its processes so far."""
        times = [process.cpu_times() for process in self.tree()]
        return sum(each.user + each.system for each in times)

    def rss_mb(self) -> float:
        """Resident memory of its processes; shared pages count in each."""
        return sum(process.memory_info().rss for process in self.tree()) / 1e6

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep it from running while another system is measured."""
        processes = self.tree()
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)


class Onereel(System):
    """`onereel serve` on SQLite (synchronous=FULL) with local storage."""

    name = "onereel"

    def __init__(self, mock: Mock, core: str, data_dir: Path, env: Mapping[str, str] | None = None) -> None:
        command = [*pinned(core), *serve_command()]
        self.server = Server(config=self.plans() + _tables(mock), data_dir=data_dir, env=env, command=command)
        self.base_url = self.server.api_url
        self.key = ""

    @staticmethod
    def plans() -> str:
        """Further text of onereel.toml."""
        return ""

    @property
    def pid(self) -> int:
        """The server's."""
        return self.server.pid

    def start(self) -> float:
        """Start and, on the first start, make a key."""
        started = time.monotonic()
        self.server.start(ready=False)
        wait_until_answers(f"{self.server.base_url}/health/ready")
        took = time.monotonic() - started
        self.key = self.key or self.server.make_key()
        return took

    def stop(self) -> None:
        """In order, or by force where that takes long: the bench leaves jobs behind."""
        self.server.stop(timeout=15)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.server.data_dir / "data" / "onereel.db"


class Paying(Onereel):
    """The same with everything that money asks of a create: prepaid credit with a lot that ends, a plan with limits,
    and budgets of organization, project, key and end user."""

    name = "paying"

    def start(self) -> float:
        """Start and, on the first start, make the customer's terms."""
        first, took = not self.key, super().start()
        if first:
            set_terms(self.server)
            time.sleep(BELIEVED_SECONDS)
        return took

    @staticmethod
    def plans() -> str:
        """The plan of `set_terms`."""
        return PLAN


class LiteLLM(System):
    """The proxy with a master key, without a database of its own (see the research notes)."""

    name = "LiteLLM"

    def __init__(self, mock: Mock, core: str, folder: Path) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.key = MASTER_KEY
        self._core = core
        self._folder = folder
        self._config = _litellm_config(mock)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The proxy's."""
        if self._process is None:
            raise RuntimeError("LiteLLM is not running")
        return self._process.pid

    def start(self) -> float:
        """Start one worker."""
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "config.yaml"
        config.write_text(self._config)
        command = [*pinned(self._core), str(LITELLM), "--config", str(config)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1"]
        quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        started = time.monotonic()
        with (self._folder / "litellm.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **quiet}, cwd=self._folder, stdout=log, stderr=log
            )
        wait_until_answers(f"http://127.0.0.1:{self.port}/health/liveliness")
        return time.monotonic() - started

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class Nginx(System):
    """`proxy_pass` to the mock: what moving the bytes alone costs."""

    name = "nginx"

    def __init__(self, mock: Mock, core: str, folder: Path) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/small/v1"
        self.key = "none"
        server = f"""
  upstream mock {{ server 127.0.0.1:{mock.port}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{self.port} backlog=1024;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""
        self._command = nginx(folder, server, core)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The master's."""
        if self._process is None:
            raise RuntimeError("nginx is not running")
        return self._process.pid

    def start(self) -> float:
        """Start one worker."""
        started = time.monotonic()
        self._process = subprocess.Popen(self._command)
        wait_until_answers(f"{self.base_url}/videos/video_small")
        return time.monotonic() - started

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


def set_terms(server: Server, organization: str = "org_default", project: str | None = None) -> None:
    """Give an organization (its first project named) prepaid credit with a lot that ends, the plan, and four budgets."""
    scoped = project or server.project_id()

    def call(method: str, path: str, body: Any = None) -> Any:
        return server.call(method, path, body, project=project)

    key = call("GET", f"/v1/organization/projects/{scoped}/api_keys")["data"][0]["id"]
    server.call("POST", f"/v1/organizations/{organization}", {"plan": "bench", "billing_mode": "prepaid"})
    call("POST", "/v1/billing/credits", {"amount_usd": "900000", "reason": "bench"})
    gift = {"amount_usd": "100", "reason": "bench", "expires_at": int(time.time()) + 86_400}
    call("POST", "/v1/billing/credits", gift)
    scopes = {"organization": None, "project": scoped, "key": key, "user": "bench"}
    for scope, scope_id in scopes.items():
        named = {} if scope_id is None else {"scope_id": scope_id}
        call("POST", "/v1/billing/budgets", {"scope": scope, "amount_usd": "800000", **named})


def install_litellm() -> None:
    """Put the pinned LiteLLM into its own environment, once."""
    if LITELLM.exists():
        return
    print(f"installing {LITELLM_VERSION} into .venvs/litellm: about 0.7 GB on disk", flush=True)
    folder = LITELLM.parents[1]
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "install", "-q", LITELLM_VERSION]
    subprocess.run(pip, check=True)


def _tables(mock: Mock) -> str:
    clips = ("small", "mega", "large")
    tables = [
        upstream_table(mock.url(clip), name=clip, model=model_of(clip), max_concurrent=512) for clip in clips
    ]
    tables.append(upstream_table(mock.url(NEVER), name="parked", model=PARKED, max_concurrent=1))
    return "".join(tables)


def _litellm_config(mock: Mock) -> str:
    models = "".join(
        f"""
  - model_name: {model_of(clip)}
    litellm_params: {{model: openai/sora-2, api_base: "{mock.url(clip)}", api_key: none}}"""
        for clip in ("small", "mega", "large")
    )
    return f"model_list:{models}\ngeneral_settings:\n  master_key: {MASTER_KEY}\n"
