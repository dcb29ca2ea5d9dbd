"""The audit against a service of our own: what it finds fails, and its silence is told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.security.audit import LOCKS, main
from tests.server import free_port


class Service:
    """OSV's API with what it knows: names of packages and their vulnerabilities."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.status = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append(asked["package"]["name"])
                found = [
                    {"id": each, "summary": "a hole", "affected": []}
                    for each in service.known.get(service.asked[-1], ())
                ]
                body = json.dumps({"vulns": found} if found else {}).encode()
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.arguments = ("-s", "osv", "--osv-url", f"http://127.0.0.1:{self.server.server_port}/v1/query")


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    (tmp_path / "build.txt").write_text("builder==1.0\n")
    for lock in LOCKS:
        (tmp_path / lock).write_text("safe==1.0\nholey==2.0\n")
    return tmp_path


def test_nothing_known_is_good(service: Service, locks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([service.arguments], locks) == 0
    assert set(service.asked) == {"builder", "safe", "holey"}
    assert "0 known vulnerabilities" in capsys.readouterr().out


def test_a_finding_fails(service: Service, locks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service.known["holey"] = ["PYSEC-2026-1"]
    assert main([service.arguments], locks) == 1
    assert "holey 2.0: PYSEC-2026-1" in capsys.readouterr().out


@pytest.mark.parametrize("status", [0, 500, 503])
def test_a_service_that_is_away_is_told(
    service: Service, locks: Path, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service.status = status or 200
    service.known["holey"] = ["PYSEC-2026-1"]
    nobody = ("-s", "osv", "--osv-url", f"http://127.0.0.1:{free_port()}/v1/query")
    assert main([service.arguments if status else nobody], locks) == 0
    assert capsys.readouterr().out == "not audited: the service could not be reached\n"


def test_a_lock_that_cannot_be_read_is_no_silence(service: Service, locks: Path) -> None:
    (locks / "dev.txt").write_text("not a requirement at all\n")
    with pytest.raises(RuntimeError, match="pip-audit failed"):
        main([service.arguments], locks)
