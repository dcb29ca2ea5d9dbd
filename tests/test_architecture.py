"""The limits that keep the code readable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "providers", "billing", "local_backend")
LONGEST_FILE = 400
LONGEST_ADAPTER = 200
LONGEST_TEST = 600
TOP_LEVEL = {
    "gateway", "providers", "billing", "local_backend", "migrations", "tests", "helm", "docs", "requirements",
}  # fmt: skip


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def limit(path: Path) -> int:
    if path.is_relative_to(ROOT / "providers" / "adapters"):
        return LONGEST_ADAPTER
    return LONGEST_TEST if path.is_relative_to(ROOT / "tests") else LONGEST_FILE


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "migrations"])
def test_no_file_is_too_long(folder: str) -> None:
    generated = ROOT / "migrations" / "versions"
    long = {
        str(path.relative_to(ROOT)): lines(path)
        for path in python_files(folder)
        if lines(path) > limit(path) and not path.is_relative_to(generated)
    }
    assert not long


def test_the_folders_at_the_top_are_the_agreed_ones() -> None:
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    folders = {line.split("/")[0] for line in tracked.stdout.splitlines() if "/" in line}
    assert {name for name in folders if not name.startswith(".")} <= TOP_LEVEL


def imports_of(path: Path) -> set[str]:
    """Modules imported at import time (not inside functions or TYPE_CHECKING blocks)."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def test_there_is_no_import_cycle() -> None:
    files = {module_name(path): path for path in python_files(*PACKAGES)}
    graph = {name: {i for i in imports_of(path) if i in files and i != name} for name, path in files.items()}
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            pytest.fail(" -> ".join([*trail[trail.index(name) :], name]))
        if name in done:
            return
        for other in graph[name]:
            visit(other, [*trail, name])
        done.add(name)

    for name in graph:
        visit(name, [])


def test_only_the_worker_imports_torch() -> None:
    heavy = {"torch", "diffusers", "transformers"}
    guilty = []
    for path in python_files("gateway", "providers", "billing"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if heavy & {name.split(".")[0] for name in names}:
                guilty.append(str(path.relative_to(ROOT)))
    assert not guilty


def test_names_say_what_they_are() -> None:
    vague = [
        path
        for path in python_files(*PACKAGES)
        if any(w in path.stem for w in ("util", "helper", "manager", "common"))
    ]
    assert not vague
