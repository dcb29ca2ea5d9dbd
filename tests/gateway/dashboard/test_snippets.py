"""Snippets are programs: each is valid for every prompt, and those that can be run here make the video."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.snippets import Operation, snippets
from gateway.settings import Settings
from providers.testing import FakeUpstream
from tests.gateway.live import ADMIN_KEY, Live, live, settings_for
from tests.server import MODEL, upstream_table

NASTY = "a 'cat' says \"no\"\n$HOME `id` \\ \u2028 ${x} </script> @file;type=a \N{CAT FACE} # {video.id}"


def of(settings_dir: Path, upstream: FakeUpstream) -> Settings:
    return settings_for(settings_dir, **tomllib.loads(upstream_table(upstream.base_url)))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with FakeUpstream() as upstream, live(of(tmp_path_factory.mktemp("snippets"), upstream)) as gateway:
        yield gateway


def run(command: list[str], folder: Path, text: str | None = None) -> str:
    environment = {**os.environ, "ONEREEL_API_KEY": ADMIN_KEY}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def made(running: Live, folder: Path, name: str) -> dict[str, Any]:
    assert (folder / name).stat().st_size > 1000
    with running.client() as client:
        video: dict[str, Any] = client.get(f"/v1/videos/{name.removesuffix('.mp4')}").json()
    return video


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_makes_the_video(running: Live, tmp_path: Path) -> None:
    said = snippets(
        running.base_url, {"model": MODEL, "prompt": NASTY, "seconds": "4", "metadata": {"a": "b'c"}}
    )
    video = made(running, tmp_path, run(["sh", "-s"], tmp_path, said.curl))
    assert (video["prompt"], video["metadata"]) == (NASTY, {"a": "b'c"})


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_sends_files(running: Live, tmp_path: Path) -> None:
    said = snippets(
        running.base_url, {"model": MODEL, "prompt": NASTY}, files={"input_reference": "none.png"}
    )
    environment = {**os.environ, "ONEREEL_API_KEY": ADMIN_KEY}
    (tmp_path / "none.png").write_bytes(b"no image")
    done = subprocess.run(
        ["sh", "-s"],
        cwd=tmp_path,
        env=environment,
        input=said.curl,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "input_reference" in done.stdout


def test_python_makes_the_video(running: Live, tmp_path: Path) -> None:
    said = snippets(running.base_url, {"model": MODEL, "prompt": NASTY, "seconds": Decimal(4), "user": "ada"})
    video = made(running, tmp_path, run([sys.executable, "-c", said.python], tmp_path))
    assert (video["prompt"], video["user"]) == (NASTY, "ada")


def test_python_makes_what_follows_a_video(running: Live, tmp_path: Path) -> None:
    first = run(
        [sys.executable, "-c", snippets(running.base_url, {"prompt": "a", "model": MODEL}).python], tmp_path
    )
    source = first.removesuffix(".mp4")
    calls: list[tuple[Operation, dict[str, str]]] = [
        ("remix", {}),
        ("edit", {}),
        ("extend", {"seconds": "4"}),
    ]
    for operation, fields in calls:
        said = snippets(
            running.base_url,
            {"prompt": "b", **fields},
            operation=operation,
            source=source,
        )
        assert (
            made(running, tmp_path, run([sys.executable, "-c", said.python], tmp_path))["operation"]
            == operation
        )


@given(prompt=st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_every_prompt_is_quoted(prompt: str) -> None:
    said = snippets("http://127.0.0.1:8080/", {"prompt": prompt, "seed": 7, "audio": True, "n": None})
    values = [node.value for node in ast.walk(ast.parse(said.python)) if isinstance(node, ast.Constant)]
    assert prompt in values
    assert True in values
    shown = said.node.partition("videos.create(")[2].partition(");\nwhile")[0]
    assert json.loads(shown) == {"prompt": prompt, "seed": 7, "audio": True}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_node_is_a_program(tmp_path: Path) -> None:
    written = [
        snippets("http://127.0.0.1", {"prompt": NASTY}),
        snippets("http://127.0.0.1", {"prompt": NASTY}, files={"input_reference": "a'b.png"}),
        snippets("http://127.0.0.1", {"prompt": NASTY}, operation="remix", source="video_1"),
        snippets("http://127.0.0.1", {"prompt": NASTY}, operation="extend", source="video_1"),
    ]
    for n, said in enumerate(written):
        path = tmp_path / f"{n}.mjs"
        path.write_text(said.node)
        run(["node", "--check", str(path)], tmp_path)


def test_no_key_is_ever_written() -> None:
    said = snippets("https://video.example.com", {"prompt": "a"})
    for text in (said.curl, said.python, said.node):
        assert "ONEREEL_API_KEY" in text
        assert "https://video.example.com/v1" in text


def test_a_key_that_was_just_made_is_written_in() -> None:
    said = snippets("https://video.example.com", {"prompt": "a"}, key="sk-new")
    assert all("sk-new" in text for _, _, text in said.labelled())
    ast.parse(said.python)
