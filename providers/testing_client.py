"""Starting and steering a fake upstream from a test."""

import contextlib
import http.client
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self


class FakeUpstream:
    """A fake upstream in its own process on 127.0.0.1, from `with` to the end of its block.

    `config` and `fault` take effect at once; see `providers.testing_jobs` for their names.
    """

    module: ClassVar[str] = "providers.testing"

    def __init__(self, **config: Any) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        """Where an adapter finds it."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def foreign_host(self) -> str:
        """The "host:port" at which its foreign content lies; list it as an allowed private host."""
        return f"localhost:{self.port}"

    def start(self) -> Self:
        """Start the process and wait until it listens."""
        command = [sys.executable, "-m", self.module, "--port", "0", "--exit-with-stdin"]
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise RuntimeError("the fake upstream did not start")
        self.port = int(json.loads(line)["port"])
        if self._config:
            self.config(**self._config)
        return self

    def stop(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def config(self, **changes: Any) -> None:
        """Change its behaviour; see `Config` for the names."""
        self._call("POST", "/__config", changes)

    def fault(self, name: str, times: int = 1) -> None:
        """Play a fault for the next `times` requests it applies to, whatever their prompt."""
        self._call("POST", "/__faults", {"name": name, "times": times})

    def reset(self) -> None:
        """Forget jobs, counts, faults and configuration (the one given at the start is set again)."""
        self._call("POST", "/__reset", {})
        if self._config:
            self.config(**self._config)

    def requests(self, method: str | None = None) -> list[dict[str, Any]]:
        """Every request it got, oldest first: method, path, query, headers, fields, files, at (seconds)."""
        found = self._call("GET", "/__requests" + (f"?method={method}" if method else ""))
        return list(found)

    def callback(self) -> tuple[dict[str, str], bytes]:
        """Headers and body with which the newest job's provider would report its end."""
        told = self._call("GET", "/__callback")
        return dict(told["headers"]), told["body"].encode()

    def stats(self) -> dict[str, Any]:
        """Counts: jobs, live, max_live, creates and doubles per Idempotency-Key, calls per kind."""
        return dict(self._call("GET", "/__stats"))

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the fake upstream answered HTTP {answer.status} to {method} {path}")
            return json.loads(data)
