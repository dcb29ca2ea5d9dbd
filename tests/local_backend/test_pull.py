"""Pulling weights, from a small server that answers as the Hugging Face hub does."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from local_backend.engine import Engine
from local_backend.families import tiny_random
from local_backend.folders import present
from local_backend.order import read_order
from providers.contract import Operation
from providers.presets import preset
from tests.local_backend.test_engine import Notes

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "tiny/wan"
NAME = "own/tiny"
ROW = {
    "id": NAME,
    "sizes": ["720x1280"],
    "seconds": [4],
    "licence": "Apache-2.0",
    "weights": {
        "family": "wan",
        "repo": REPO,
        "dtype": "float32",
        "rate": "4",
        "file_rate": 24,
        "area": 11520,
        "steps": 2,
        "guidance": 3.0,
    },
}


@dataclass
class Hub:
    """A repo by its folder. `spoilt` are files whose bytes arrive wrong, `stops` those that break off once."""

    folder: Path
    url: str = ""
    spoilt: set[str] = field(default_factory=set)
    stops: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def siblings(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file():
                continue
            data = path.read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            row: dict[str, object] = {
                "rfilename": path.relative_to(self.folder).as_posix(),
                "size": len(data),
                "blobId": blob,
            }
            found.append(row | ({"lfs": lfs} if path.suffix == ".safetensors" else {}))
        return found


class _Answers(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None: ...

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(f"/api/models/{REPO}/revision/"):
            found = {"id": REPO, "sha": COMMIT, "siblings": self.hub.siblings()}
            self._send(200, json.dumps(found).encode(), {"content-type": "application/json"}, body=body)
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            self._file(path.removeprefix(f"/{REPO}/resolve/{COMMIT}/"), body=body)
        else:
            self._send(404, b"{}", {"x-error-code": "RepoNotFound"}, body=body)

    def _file(self, name: str, *, body: bool) -> None:
        data = (self.hub.folder / name).read_bytes()
        etag = hashlib.sha256(data).hexdigest()
        asked = self.headers.get("range")
        if body:
            self.hub.asked.append((name, asked))
        if name in self.hub.spoilt:
            data = bytes([data[0] ^ 1]) + data[1:]
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        headers = {"etag": f'"{etag}"', "x-repo-commit": COMMIT, "accept-ranges": "bytes"}
        if asked:
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if asked else 200, data[start:], headers, body=body, stop=name in self.hub.stops)

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], *, body: bool, stop: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "content-length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if stop else data)
        if stop:
            self.close_connection = True


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "repo"
    tiny_random.build(folder)
    (folder / "transformer" / "modeling.py").write_text("raise SystemExit")
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"x" * 100)
    (folder / "all_in_one.safetensors").write_bytes(b"x" * 100)
    (folder / "LICENSE.txt").write_text("Apache-2.0")
    made = Hub(folder)
    handler = type("Answers", (_Answers,), {"hub": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()


def pulled(hub: Hub, tmp_path: Path, *options: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    own = tmp_path / "own.json"
    limited = {**ROW, "id": "own/limited", "weights": {**ROW["weights"], "commercial_limits": "Not on Mars."}}  # type: ignore[dict-item]
    own.write_text(json.dumps([ROW, limited]))
    command = [sys.executable, "-m", "local_backend.pull", name, f"--models-dir={tmp_path / 'models'}"]
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [*command, f"--own-models={own}", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_weights_are_pulled_checked_and_served(hub: Hub, tmp_path: Path) -> None:
    done = pulled(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "own--tiny"
    assert done.stdout.strip() == str(folder)
    assert "own/tiny: Apache-2.0" in done.stderr
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"model_index.json", "onereel.json", "LICENSE.txt"} <= names
    assert not any(
        name.endswith((".py", "fp16.safetensors")) or name == "all_in_one.safetensors" for name in names
    )
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["own--tiny"]
    model = preset(ROW)
    assert present(model, tmp_path / "models")
    order = read_order({"prompt": "x", "model": NAME}, Operation.GENERATE, {}, None, {NAME: model})
    (clip,) = Engine(tmp_path / "models", "cpu", 1, [model]).make([order], Notes())
    assert clip.frames.std() > 1
    assert pulled(hub, tmp_path, "--check").returncode == 0
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    (folder / "transformer" / "config.json").unlink()
    checked = pulled(hub, tmp_path, "--check")
    assert checked.returncode == 1
    assert "transformer/config.json is missing" in checked.stderr
    assert "vae/diffusion_pytorch_model.safetensors is not what was pulled" in checked.stderr
    assert "is there already" in pulled(hub, tmp_path).stderr


def test_wrong_bytes_are_never_put_in_place(hub: Hub, tmp_path: Path) -> None:
    hub.spoilt.add("transformer/diffusion_pytorch_model.safetensors")
    refused = pulled(hub, tmp_path)
    assert refused.returncode == 1
    assert "is not what the hub says it is" in refused.stderr
    assert not (tmp_path / "models" / "own--tiny").exists()
    hub.spoilt.clear()
    hub.asked.clear()
    assert pulled(hub, tmp_path).returncode == 0
    assert [name for name, _ in hub.asked if name.endswith(".safetensors")] == [
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]  # what was whole is not brought again


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("own/limited", (), "Not on Mars."),
        ("own/limited", (), "--accept-licence"),
        ("onereel/demo", (), "there is nothing to pull"),
        ("own/nothing", (), "There is no model 'own/nothing'"),
        ("own/tiny", ("--check",), "was not pulled by onereel"),
    ],
)
def test_what_cannot_be_pulled_says_why(
    hub: Hub, tmp_path: Path, name: str, options: tuple[str, ...], message: str
) -> None:
    refused = pulled(hub, tmp_path, *options, name=name)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert not (tmp_path / "models").exists()


def test_a_repo_that_is_not_there_or_has_pickles_only_is_refused(hub: Hub, tmp_path: Path) -> None:
    weights = hub.folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    (hub.folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    (hub.folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert "has vae as .bin only: onereel loads safetensors alone" in pulled(hub, tmp_path).stderr
    hub.folder.rename(tmp_path / "elsewhere")
    (hub.folder).mkdir()
    assert "is no repo of a diffusers pipeline" in pulled(hub, tmp_path).stderr


def test_a_hub_that_does_not_answer_is_named_in_one_line(hub: Hub, tmp_path: Path) -> None:
    hub.url = "http://127.0.0.1:9"
    refused = pulled(hub, tmp_path)
    assert refused.returncode == 1
    assert "The hub failed: " in refused.stderr
    assert "Traceback" not in refused.stderr
