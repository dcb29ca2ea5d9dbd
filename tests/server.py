"""A real `onereel serve` process for tests, in front of a fake upstream.

with FakeUpstream() as upstream, Server(upstream=upstream) as server:
    client = openai.OpenAI(base_url=server.api_url, api_key=server.make_key())
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from providers.testing import FakeUpstream

ADMIN_KEY: Final = "test-operator-key-0123456789abcdef0123456789"
MODEL: Final = "acme/fast"
UPSTREAM: Final = "acme"
ROOT: Final = Path(__file__).parents[1]
_UNSET: Final = ("ONEREEL_", "OPENAI_")
_LOG_TAIL: Final = 6000


def serve_command() -> list[str]:
    """The command of a server of this checkout."""
    return [str(Path(sys.executable).parent / "onereel"), "serve"]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def upstream_table(
    base_url: str,
    *,
    name: str = UPSTREAM,
    model: str = MODEL,
    submit_safety: str = "none",
    max_concurrent: int = 50,
    extra: str = "",
) -> str:
    """One [[upstreams]] table of onereel.toml with one model; `extra` are further lines of that model."""
    return f"""
[[upstreams]]
name = "{name}"
type = "openai_compatible"
base_url = "{base_url}"
api_key = "upstream-secret"
max_concurrent = {max_concurrent}
[[upstreams.models]]
id = "{model}"
upstream_model = "fast-1"
seconds = [4, 8, 12]
sizes = ["1280x720", "720x1280", "1024x1792", "1792x1024"]
price_per_second_usd = "0.10"
upstream_cost_per_second_usd = "0.08"
submit_safety = "{submit_safety}"
{extra}
"""


class Server:
    """A server on a free port of 127.0.0.1 with its own data directory, from `with` to the end of its block.

    `upstream` gets one table in the configuration; `config` is further text of onereel.toml, `env` further
    ONEREEL_* variables. A given `data_dir` is kept, so that a second server can go on with it.
    """

    def __init__(
        self,
        *,
        upstream: FakeUpstream | None = None,
        config: str = "",
        env: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        port: int | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.admin_key = ADMIN_KEY
        self.port = port or free_port()
        self._own = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="onereel-server-"))
        self.log_path = self.data_dir / "server.log"
        table = "" if upstream is None else upstream_table(upstream.base_url)
        self._config = config + table
        self._env = dict(env or {})
        self._command = list(command or serve_command())
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """Where the server listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"{self.base_url}/v1"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self.process is None:
            raise RuntimeError("the server is not running")
        return self.process.pid

    def environment(self) -> dict[str, str]:
        """What the process gets: ours, with nothing of another onereel or OpenAI account in it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_UNSET)}
        return {
            **inherited,
            "PYTHONUNBUFFERED": "1",
            "ONEREEL_CONFIG": str(self.data_dir / "onereel.toml"),
            "ONEREEL_DATA_DIR": str(self.data_dir / "data"),
            "ONEREEL_HOST": "127.0.0.1",
            "ONEREEL_PORT": str(self.port),
            "ONEREEL_ADMIN_KEY": self.admin_key,
            "ONEREEL_LOCAL__ENABLED": "false",
            "ONEREEL_UPSTREAMS_FROM_ENV": "false",  # whatever keys the machine has
            **self._env,
        }

    def start(self, *, ready: bool = True, timeout: float = 60) -> Self:
        """Start the process and, unless told not to, wait until it can take a video."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "onereel.toml").write_text(self._config)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env=self.environment(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until /health/ready answers 200. Raises RuntimeError with the end of the log."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), self._open("GET", "/health/ready", None, timeout=5):
                return
            time.sleep(0.05)
        tail = self.log_tail()
        self.kill()
        raise RuntimeError(f"onereel serve did not become ready; the end of its log:\n{tail}")

    def stop(self, timeout: float = 20) -> int:
        """End the process in order (SIGTERM, then SIGKILL) and give its exit status."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def log_tail(self, size: int = _LOG_TAIL) -> str:
        """The end of what the server printed."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_bytes()[-size:].decode(errors="replace")

    def request(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, project: str | None = None
    ) -> tuple[int, Any]:
        """One JSON call, as the operator (in the default project, or in this one) unless a key is given.

        Answers the HTTP status and the decoded answer.
        """
        try:
            with self._open(method, path, body, key=key, project=project) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, project: str | None = None
    ) -> Any:
        """One JSON call that must succeed: the decoded answer. Raises RuntimeError otherwise."""
        status, answer = self.request(method, path, body, key=key, project=project)
        if status != 200:
            raise RuntimeError(f"{method} {path} answered {status}: {answer}")
        return answer

    def project_id(self) -> str:
        """The default project."""
        return str(self.call("GET", "/v1/organization/projects")["data"][0]["id"])

    def make_key(self, name: str = "tests", **fields: Any) -> str:
        """The value of a new API key of the default project; fields as the HTTP API takes them."""
        path = f"/v1/organization/projects/{self.project_id()}/api_keys"
        return str(self.call("POST", path, {"name": name, **fields})["value"])

    def _open(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        project: str | None = None,
        timeout: float = 30,
    ) -> Any:
        acting = {"X-Onereel-Project": project} if project else {}
        request = urllib.request.Request(
            self.base_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {key or self.admin_key}",
                "Content-Type": "application/json",
                **acting,
            },
        )
        return urllib.request.urlopen(request, timeout=timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            print(f"--- the end of the server's log ({self.log_path})\n{self.log_tail()}", file=sys.stderr)
        self.stop()
        if self._own:
            shutil.rmtree(self.data_dir, ignore_errors=True)
