"""Generated requests, valid and invalid, at the operations of our own OpenAPI document, against a real server.

No answer may be a 5xx, every answer must be as the document says, and what the document forbids must be refused.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from providers.testing import FakeUpstream
from tests.server import MODEL, Server

VIDEOS: Final = ("--phases", "coverage", "--include-path-regex", "^/v1/videos(/{video_id})?$")
EVERYTHING: Final = ("--phases", "coverage,fuzzing,stateful", "--max-examples", "2")
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


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(
    "asked",
    [pytest.param(VIDEOS, id="videos"), pytest.param(EVERYTHING, id="everything", marks=pytest.mark.slow)],
)
def test_every_operation_is_true_to_our_description(
    server: Server, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    (tmp_path / "schemathesis.toml").write_text(configuration(server))
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        f"{server.base_url}/openapi.json",
        *("--header", f"Authorization: Bearer {server.admin_key}"),
        *asked,
        *("--seed", "1"),
        *("--checks", "all", "--exclude-checks", NOT_CHECKED, "--continue-on-failure"),
        "--no-color",
    ]

    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)

    assert done.returncode == 0, f"{done.stdout[-12_000:]}\n{done.stderr}"
    assert '"request_failed"' not in server.log_path.read_text()
