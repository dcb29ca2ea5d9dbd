"""Generated requests, valid and invalid, at the operations of our own OpenAPI document, against a real server.

No answer may be a 5xx, every answer must be as the document says, and what the document forbids must be refused.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from providers.testing import FakeUpstream
from tests.server import MODEL, Server

METHODS: Final = frozenset({"get", "head", "post", "put", "patch", "delete"})
ALL: Final = ("--phases", "coverage,fuzzing,stateful", "--max-examples", "2")
VIDEOS: Final = ("--phases", "coverage", "--include-path-regex", "^/v1/videos(/{video_id})?$")
# Valid values may still name what is not there; Litestar's own OPTIONS answers name too few methods.
NOT_CHECKED: Final = "positive_data_acceptance,allow_header_conformance"
SECONDS: Final = 300


@pytest.fixture
def server() -> Iterator[Server]:
    with FakeUpstream(poll_after_ms=100) as upstream, Server(upstream=upstream) as running:
        yield running


def finished_video(server: Server) -> str:
    """The id of a completed video, so that reads find something."""
    video = server.call("POST", "/v1/videos", {"prompt": "generated requests", "model": MODEL})
    deadline = time.monotonic() + 30
    while video["status"] != "completed" and time.monotonic() < deadline:
        time.sleep(0.1)
        video = server.call("GET", f"/v1/videos/{video['id']}")
    assert video["status"] == "completed"
    return str(video["id"])


def configuration(server: Server) -> str:
    """Real ids for what no generator guesses; only reads and remixes get the video's, as a delete would take it."""
    video = finished_video(server)
    reads = [
        ("GET", "/v1/videos/{video_id}"),
        ("GET", "/v1/videos/{video_id}/content"),
        ("GET", "/v1/videos/{video_id}/events"),
        ("POST", "/v1/videos/{video_id}/remix"),
    ]
    tables = [
        f'[[operations]]\ninclude-name = "{method} {path}"\nparameters = {{ "path.video_id" = "{video}" }}'
        for method, path in reads
    ]
    return "\n".join([f'[parameters]\n"path.model" = "{MODEL}"\n"path.endpoint_id" = "default"', *tables, ""])


def documented(server: Server) -> set[str]:
    """Every operation of the document."""
    with urllib.request.urlopen(f"{server.base_url}/openapi.json", timeout=30) as answer:
        paths = json.load(answer)["paths"]
    return {
        f"{method.upper()} {path}" for path, item in paths.items() for method in item if method in METHODS
    }


def generated(server: Server, folder: Path, *options: str) -> dict[str, Counter[str]]:
    """Run it; how many valid ("positive") and invalid ("negative") requests each operation got. None may fail."""
    (folder / "schemathesis.toml").write_text(configuration(server))
    report = folder / "report.ndjson"
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        f"{server.base_url}/openapi.json",
        *("--header", f"Authorization: Bearer {server.admin_key}"),
        *("--checks", "all", "--exclude-checks", NOT_CHECKED, "--continue-on-failure"),
        *("--request-timeout", "60"),  # a busy machine is no failure
        *("--report", "ndjson", "--report-ndjson-path", str(report), "--no-color"),
        *options,
    ]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{done.stdout[-12_000:]}\n{done.stderr}"
    assert '"request_failed"' not in server.log_path.read_text()
    return told(report)


def told(report: Path) -> dict[str, Counter[str]]:
    """Count the requests of a report by operation and kind."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in filter(str.strip, report.read_text().splitlines()):
        event = json.loads(line).get("ScenarioFinished")
        for each in event["recorder"].get("cases", {}).values() if event else ():
            case = each["value"]
            counts[f"{case['method']} {case['path']}"][case["meta"]["generation"]["mode"]] += 1
    return counts


@pytest.mark.timeout(SECONDS + 60)
def test_videos_are_true_to_our_description(server: Server, tmp_path: Path) -> None:
    counts = generated(server, tmp_path, *VIDEOS, "--seed", "1")
    for operation in ("POST /v1/videos", "GET /v1/videos", "GET /v1/videos/{video_id}"):
        assert set(counts[operation]) == {"positive", "negative"}, operation


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_every_operation_is_true_to_our_description(server: Server, tmp_path: Path) -> None:
    counts = generated(server, tmp_path, *ALL, "--seed", "1")
    for operation in documented(server):
        assert set(counts[operation]) == {"positive", "negative"}, operation
