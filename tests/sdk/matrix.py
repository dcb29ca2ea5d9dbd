"""Runs the scenario of each SDK against one real server, and checks what it cannot see from inside."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import av
from PIL import Image

from providers import testing_media
from providers.testing import FakeUpstream
from tests.sdk.install import ROOT, SDKS, Sdk, clean_environment
from tests.sdk.proxy import Canned, Exchange, Proxy, Step
from tests.sdk.vendor import SPEC, VendorSchema
from tests.server import Server, free_port, upstream_table

MODELS: Final = ("acme/fast", "sora-2")
SCHEMA_ROW: Final = "every answer fits the vendor's schema"
CALM_ROW: Final = "no other call was retried"
SELF_ROW: Final = "the scenario itself"
CUT_ROW: Final = "retry: lost answer, one job"
BUSY_ROW: Final = "retry: Retry-After honoured"
FINAL_ROW: Final = "retry: x-should-retry honoured"
SCENARIO_SECONDS: Final = 240
SCOPES: Final = ("videos.read", "videos.write", "files.read", "files.write", "webhooks")

_PYTHON: Final = frozenset(sdk.name for sdk in SDKS if sdk.language == "python")
_NODE: Final = frozenset(sdk.name for sdk in SDKS if sdk.language == "node")
_FIRST: Final = frozenset({"python-2.2.0", "node-6.2.0"})
_LAST: Final = frozenset({"python-3.54.0", "node-7.57.0"})
_BEFORE_LAST: Final = (_PYTHON | _NODE) - _LAST

ABSENT: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(("videos.create_and_poll", "videos.poll", "videos (async client)"), _NODE),
        **dict.fromkeys(
            (
                "videos.edit (file)",
                "videos.edit (id)",
                "videos.extend (file)",
                "videos.extend (id)",
                "videos.create_character",
                "videos.get_character",
                "videos.create (character)",
            ),
            _FIRST,
        ),
        **dict.fromkeys(
            (
                "webhooks.create",
                "webhooks.retrieve",
                "webhooks.update",
                "webhooks.list",
                "webhooks.delete",
                "webhooks.rotate_secret",
                "webhooks.test",
                "webhooks.event_types.list",
            ),
            _BEFORE_LAST,
        ),
    }
)
"""The empty cells: methods that a version does not have. Any other empty cell, or one too few, is a failure."""


@dataclass
class Cell:
    """One row of one SDK."""

    state: str
    detail: str = ""


@dataclass
class Column:
    """What came of one SDK, by row."""

    sdk: Sdk
    cells: dict[str, Cell] = field(default_factory=dict)
    log: str = ""
    answers: int = 0
    expected: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def fail(self, row: str, detail: str) -> None:
        """Make a cell fail, unless it has failed before or was not run."""
        if row in self.cells and self.cells[row].state == "ok":
            self.cells[row] = Cell("FAIL", detail)


@dataclass(frozen=True)
class Bench:
    """What all columns share."""

    server: Server
    upstream: FakeUpstream
    hooks: Mapping[str, int]
    folder: Path
    foreign_video: str


@dataclass(frozen=True)
class Proxies:
    """The doors of one column: `cut` loses its first answer, `busy` and `final` answer the first request themselves."""

    main: Proxy
    cut: Proxy
    busy: Proxy
    final: Proxy


@contextmanager
def bench(sdks: Sequence[Sdk]) -> Iterator[Bench]:
    """A fake upstream and a server before it, with one receiver of webhooks allowed per SDK."""
    hooks = {sdk.name: free_port() for sdk in sdks}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onereel-sdk-")))
        Image.effect_noise((1280, 720), 40).convert("RGB").save(folder / "first.png")
        (folder / "clip.mp4").write_bytes(testing_media.mp4(1280, 720, Fraction(4)))
        upstream = stack.enter_context(FakeUpstream(poll_after_ms=100))
        server = stack.enter_context(
            Server(
                config=_config(upstream),
                env={
                    "ONEREEL_SECURITY__ALLOWED_PRIVATE_HOSTS": json.dumps(
                        [f"127.0.0.1:{port}" for port in hooks.values()]
                    )
                },
            )
        )
        foreign = server.call("POST", "/v1/videos", {"prompt": "of another project"})
        yield Bench(server, upstream, hooks, folder, foreign["id"])


def run(
    bench: Bench, commands: Mapping[Sdk, Sequence[str]], only: Sequence[str] = (), *, at_once: int = 2
) -> list[Column]:
    """Run the scenarios, some at once, and check each."""
    with ThreadPoolExecutor(at_once) as pool:
        columns = list(pool.map(lambda item: run_one(bench, item[0], item[1], only), commands.items()))
    for row in {row for column in columns for row in column.cells} - {SELF_ROW}:
        for column in columns:
            column.cells.setdefault(row, Cell("FAIL", "this row was not run"))
    return columns


def run_one(bench: Bench, sdk: Sdk, command: Sequence[str], only: Sequence[str] = ()) -> Column:
    """Run one scenario to its end."""
    print(f"{sdk.name}: started", file=sys.stderr)
    with ExitStack() as stack:

        def proxy(*script: Step) -> Proxy:
            made = Proxy(bench.server.port, script).start()
            stack.callback(made.close)
            return made

        proxies = Proxies(
            main=proxy(),
            cut=proxy("cut"),
            busy=proxy(Canned(429, "rate_limit_exceeded", (("retry-after", "2"),))),
            final=proxy(Canned(429, "insufficient_quota", (("x-should-retry", "false"),))),
        )
        given = json.dumps({**orders(bench, sdk, proxies), "only": list(only)})
        column = Column(sdk)
        _play(column, command, given)
        _check(column, bench, proxies)
    bad = [row for row, cell in column.cells.items() if cell.state == "FAIL"]
    print(f"{sdk.name}: {len(column.cells) - len(bad)} rows good, {len(bad)} bad", file=sys.stderr)
    return column


def orders(bench: Bench, sdk: Sdk, proxies: Proxies) -> dict[str, Any]:
    """What the scenario is given: addresses, files, keys of a project of its own."""
    server = bench.server
    project = server.call("POST", "/v1/organization/projects", {"name": sdk.name})["id"]

    def key(**fields: Any) -> str:
        path = f"/v1/organization/projects/{project}/api_keys"
        return str(server.call("POST", path, {"name": "matrix", **fields})["value"])

    main = key(scopes=SCOPES)
    secret = server.call("POST", "/v1/webhook_endpoints/default/rotate_secret", {}, key=main)
    out = bench.folder / sdk.name
    out.mkdir()
    return {
        "column": sdk.name,
        "model": sdk.model,
        "models": MODELS,
        "api": proxies.main.api_url,
        "cut": proxies.cut.api_url,
        "busy": proxies.busy.api_url,
        "final": proxies.final.api_url,
        "key": main,
        "read_key": key(scopes=["videos.read"]),
        "limited_key": key(requests_per_minute=1),
        "webhook_secret": secret["signing_secret"],
        "foreign_video": bench.foreign_video,
        "hook_port": bench.hooks[sdk.name],
        "png": str(bench.folder / "first.png"),
        "clip": str(bench.folder / "clip.mp4"),
        "out": str(out),
    }


def _config(upstream: FakeUpstream) -> str:
    roles = 'roles = ["first_frame", "source", "extend_from", "character"]'
    tables = [
        upstream_table(upstream.base_url, name=f"acme{number}", model=model, extra=roles)
        for number, model in enumerate(MODELS)
    ]
    return 'default_model = "sora-2"\n' + "".join(tables)


def _play(column: Column, command: Sequence[str], given: str) -> None:
    try:
        done = subprocess.run(
            command,
            check=False,
            input=given,
            cwd=ROOT,
            env={**clean_environment(), "NO_PROXY": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=SCENARIO_SECONDS,
        )
        output, column.log, status = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        output, column.log, status = _text(error.stdout), _text(error.stderr), 124
    for line in output.splitlines():
        found = json.loads(line)
        column.cells[found["row"]] = _cell(column, found)
    if status:
        column.cells[SELF_ROW] = Cell("FAIL", f"it ended with status {status}")


def _text(output: str | bytes | None) -> str:
    return output.decode() if isinstance(output, bytes) else output or ""


def _cell(column: Column, found: dict[str, Any]) -> Cell:
    row, absent = found["row"], column.sdk.name in ABSENT.get(found["row"], ())
    if found["state"] == "absent":
        return Cell("-") if absent else Cell("FAIL", "this version lacks a method that it should have")
    if absent:
        return Cell("FAIL", "this version has a method that the table says it lacks")
    if found["state"] != "ok":
        return Cell("FAIL", found["detail"])
    problem = next(filter(None, map(video_problem, found["files"])), None)
    if problem is not None:
        return Cell("FAIL", problem)
    column.expected[row] = found["upstream"]
    return Cell("ok")


def _check(column: Column, bench: Bench, proxies: Proxies) -> None:
    requests = [each for each in bench.upstream.requests("POST") if each["fields"].get("prompt")]
    for row, expected in column.expected.items():
        for each in expected:
            problem = upstream_problem(each, requests)
            if problem is not None:
                column.fail(row, problem)
    _check_retries(column, proxies)
    _check_answers(column, proxies.main.exchanges)


def _check_retries(column: Column, proxies: Proxies) -> None:
    cut = [(each.retry, each.status, (each.answer or {}).get("id")) for each in proxies.cut.exchanges]
    if [each[:2] for each in cut] != [("0", 200), ("1", 200)] or len({each[2] for each in cut}) != 1:
        column.fail(CUT_ROW, f"the requests were {cut}")
    busy = [each.at for each in proxies.busy.exchanges]
    if len(busy) != 2 or busy[1] - busy[0] < 1.9:
        column.fail(BUSY_ROW, f"the requests came at {busy}")
    if len(proxies.final.exchanges) != 1:
        column.fail(FINAL_ROW, f"{len(proxies.final.exchanges)} requests came")


def _check_answers(column: Column, exchanges: Sequence[Exchange]) -> None:
    again = [f"{each.method} {each.path}" for each in exchanges if each.retry not in {"", "0"}]
    column.cells[CALM_ROW] = Cell("FAIL", f"retried: {again}") if again else Cell("ok")
    if not SPEC.exists():
        return
    schema = VendorSchema()
    column.answers = sum(schema.covers(each) for each in exchanges)
    problems = [problem for each in exchanges if (problem := schema.problem(each)) is not None]
    column.cells[SCHEMA_ROW] = Cell("FAIL", problems[0]) if problems else Cell("ok")


def upstream_problem(expected: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> str | None:
    """Compare one expected request with those that reached the upstream."""
    found = [each for each in requests if each["fields"]["prompt"] == expected["prompt"]]
    if len(found) != 1:
        return f"{len(found)} requests reached the upstream"
    request = found[0]
    if request["path"] != expected["path"]:
        return f"{request['path']} was asked of the upstream, not {expected['path']}"
    for name, value in expected["fields"].items():
        if str(request["fields"].get(name)) != value:
            return f"{name}={request['fields'].get(name)!r} reached the upstream, not {value!r}"
    files = {name: parts[0]["sha256"] for name, parts in request["files"].items()}
    return None if files == expected["files"] else f"other files reached the upstream: {sorted(files)}"


def video_problem(expected: Mapping[str, str]) -> str | None:
    """Decode a downloaded video and compare its length and size."""
    with av.open(expected["path"]) as container:
        stream = container.streams.video[0]
        seconds = round((container.duration or 0) / av.time_base, 1)
        size = f"{stream.width}x{stream.height}"
        next(container.decode(stream))
    if (seconds, size) != (float(expected["seconds"]), expected["size"]):
        return f"the file has {seconds} s and {size}, not {expected['seconds']} s and {expected['size']}"
    return None
