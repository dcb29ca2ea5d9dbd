"""The SDK versions of the matrix, each in a directory of its own under .venvs, from committed locks."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
VENVS: Final = ROOT / ".venvs"
OLDEST_NODE: Final = 20
NPM_CI: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


@dataclass(frozen=True)
class Sdk:
    """One column of the table. `model` is a name that this version's closed types accept."""

    language: str
    version: str
    model: str = "acme/fast"
    oldest_node: int = OLDEST_NODE

    @property
    def name(self) -> str:
        """As in "python-3.54.0"."""
        return f"{self.language}-{self.version}"


SDKS: Final = (
    Sdk("python", "2.2.0", model="sora-2"),
    Sdk("python", "2.54.0"),
    Sdk("python", "3.54.0"),
    Sdk("node", "6.2.0"),
    Sdk("node", "6.49.0"),
    Sdk("node", "7.57.0", oldest_node=22),
)


class NoNode(Exception):
    """There is no Node that can run this SDK; the message says what is missing."""


def command_of(sdk: Sdk) -> tuple[str, ...]:
    """Install the SDK unless it is there, and give the command of its scenario. Raises NoNode, CalledProcessError."""
    if sdk.language == "python":
        return (str(_python(sdk)), "-m", "tests.sdk.scenario")
    folder = VENVS / sdk.name
    runner = node(HERE / "node" / sdk.version, folder, sdk.oldest_node)
    return (str(runner), str(HERE / "scenario.mjs"), str(folder))


def _python(sdk: Sdk) -> Path:
    folder = VENVS / f"sdk-{sdk.version}"
    python = folder / "bin" / "python"
    lock = HERE / "requirements" / f"openai-{sdk.version}.txt"
    if _is_current(folder, lock):
        return python
    print(f"installing openai-python {sdk.version}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q")
    _quietly((*pip, "--no-deps", "--require-hashes", "-r", str(lock)), ROOT)
    _mark(folder, lock)
    return python


def node(source: Path, folder: Path, oldest: int = OLDEST_NODE) -> Path:
    """Install what the lock in `source` names into `folder` unless it is there, and give the Node that runs it.

    Raises NoNode, CalledProcessError.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NoNode("node and npm are not installed")
    lock = source / "package-lock.json"
    if not _is_current(folder, lock):
        print(f"installing {folder.name}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        _quietly(NPM_CI, folder)
        _mark(folder, lock)
    own = folder / "node_modules" / ".bin" / "node"
    found = own if own.exists() else Path(str(shutil.which("node")))
    version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < oldest:
        raise NoNode(f"{folder.name} needs Node {oldest}, here is {version}")
    return found


def _quietly(command: Sequence[str], folder: Path) -> None:
    """Run an installer; its output is shown only where it fails."""
    done = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, env=clean_environment()
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        done.check_returncode()


def clean_environment() -> dict[str, str]:
    """Our environment without anybody's OpenAI account."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}


def _is_current(folder: Path, lock: Path) -> bool:
    stamp = folder / ".installed"
    return stamp.exists() and stamp.read_text() == _digest(lock)


def _mark(folder: Path, lock: Path) -> None:
    (folder / ".installed").write_text(_digest(lock))


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()
