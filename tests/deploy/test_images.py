"""The Dockerfile, as far as it can be judged without an engine: what it copies, installs and runs."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gateway.cli import main
from tests.test_docs import settings_rows

ROOT = Path(__file__).parents[2]
TARGETS = ("worker", "gateway")


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile, by its name."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            name = rest.rpartition(" AS ")[2]
            found[name] = []
        found[name].append((word, " ".join(rest.split())))
    return found


def words(stage: str, instruction: str) -> list[str]:
    return [rest for word, rest in stages()[stage] if word == instruction]


def test_every_file_that_is_copied_exists_and_is_sent() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = set()
    for stage in stages():
        for rest in words(stage, "COPY"):
            *sources, target = rest.split()
            if sources[0].startswith("--from="):
                assert sources[0].removeprefix("--from=") in stages()
                continue
            assert target
            copied.update(sources)
    assert {name for name in copied if not (ROOT / name).exists()} == set()
    assert {name for name in copied if name.split("/")[0] not in sent} == set()
    assert {
        name for name in sent if not any(each == name or each.startswith(f"{name}/") for each in copied)
    } == set()


def test_the_wheel_has_every_package_and_what_its_description_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = {source for rest in words("wheel", "COPY") for source in rest.split()[:-1]}
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert copied >= {*packages, "pyproject.toml", project["project"]["readme"]}


def _installs(text: str) -> dict[str, set[str]]:
    """The options that each requirements file is installed with, of pip's own kind only."""
    found = {}
    for line in text.splitlines():
        if match := re.search(r"-r (requirements/\w+\.txt)", line):
            found[match[1]] = {word for word in line.split() if word in {"--no-deps", "--require-hashes"}}
    return found


def test_the_locks_are_installed_as_the_makefile_does() -> None:
    made = _installs((ROOT / "Makefile").read_text())
    built = {
        stage: _installs("\n".join(words(stage, "RUN")))
        for stage in ("wheel", "gateway-packages", "worker-packages")
    }
    assert built["wheel"] == {"requirements/build.txt": made["requirements/build.txt"]}
    assert built["gateway-packages"] == {"requirements/gateway.txt": made["requirements/gateway.txt"]}
    hashed = made["requirements/dev.txt"]  # the Makefile's own lock of the worker, with the tests' packages
    assert hashed == {"--no-deps", "--require-hashes"}
    assert built["worker-packages"] == {
        "requirements/torch.txt": made["requirements/torch.txt"],
        "requirements/local.txt": hashed,
    }
    assert "torch" not in (ROOT / "requirements" / "gateway.txt").read_text().split("==")[0]
    assert not re.search(r"^torch==", (ROOT / "requirements" / "gateway.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_the_images_hold_no_build_tools_and_run_as_nobody(target: str) -> None:
    own = stages()[target]
    assert own[0] == ("FROM", f"base AS {target}")
    assert {word for word, _ in own} == {"FROM", "COPY", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert words(target, "COPY") == [f"--from={target}-packages /opt/onereel /opt/onereel"]
    assert words("base", "USER") == ["10001:10001"]
    assert not re.search(r"apt-get|apk |pip ", "".join(words("base", "RUN")))


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_is_one_that_the_program_has(target: str) -> None:
    program, command, *_ = json.loads(words(target, "CMD")[0])
    assert program == "onereel"
    assert command in main.list_commands(main.make_context("onereel", ["doctor"]))


def test_every_variable_is_a_setting() -> None:
    known = {variable for variable, _ in settings_rows()}
    named = set(re.findall(r"ONEREEL_\w+", (ROOT / "Dockerfile").read_text()))
    assert named <= known


@pytest.fixture
def answering() -> Iterator[tuple[HTTPServer, list[int]]]:
    """A server on a free port that answers with the status in the list."""
    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0] if self.path in {"/health/live", "/health"} else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, status
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("target", TARGETS)
def test_the_health_check_tells_good_from_bad(target: str, answering: tuple[HTTPServer, list[int]]) -> None:
    server, status = answering
    program, *arguments = json.loads(words(target, "HEALTHCHECK")[0].partition(" CMD ")[2])
    assert program == "python"
    port = str(server.server_port)
    environment = {**os.environ, "ONEREEL_PORT": port, "WORKER_PORT": port}

    def check() -> int:
        done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
        return done.returncode

    assert check() == 0
    status[0] = 503
    assert check() != 0


def test_secrets_never_reach_an_image() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    assert any(fnmatch(".env", each) for each in patterns if not each.startswith(("!", "#")))
    assert not any(fnmatch(".env", each[1:]) for each in patterns if each.startswith("!"))
