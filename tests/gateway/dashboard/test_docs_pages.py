"""/docs: open to everybody, with the reader's own address; its programs run; its list of errors lacks none."""

import ast
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

import gateway
from gateway.dashboard.error_codes import FAILED, GROUPS
from gateway.http.errors import _CODES
from gateway.jobs.settle import PUBLIC_CODES
from providers.testing import FakeUpstream
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import ADMIN_KEY, settings_for
from tests.server import MODEL, upstream_table

PAGES = ("/docs", "/docs/errors", "/docs/webhooks", "/docs/api")
ROOT = Path(gateway.__file__).parent
ONLY_PAGES = (ROOT / "members", ROOT / "dashboard", ROOT / "videos/sharing.py")
"""No path of the API raises their codes."""


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with FakeUpstream() as upstream:
        folder = tmp_path_factory.mktemp("docs")
        tables = tomllib.loads(upstream_table(upstream.base_url))["upstreams"]
        with visiting(settings_for(folder, upstreams=tables)) as visit:
            yield visit


def programs(page: str) -> dict[str, str]:
    found = re.findall(r'<section data-tab="(\w+)">.*?<code>(.*?)</code>', page, re.DOTALL)
    return {label: unescape(text) for label, text in found}


def test_strangers_read_everything(visit: Visit) -> None:
    with httpx.Client(base_url=visit.live.base_url, verify=False) as stranger:
        for path in PAGES:
            answer = stranger.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["content-type"].startswith("text/html")
        page = stranger.get("/docs").text
        assert "/login?next=/docs" in page
        assert 'action="/docs/key"' not in page
        assert f"{visit.live.base_url}/v1" in page
        assert stranger.post("/docs/key", headers={"X-Onereel": "fetch"}).status_code == 401


def test_each_program_speaks_of_the_visitors_own_address_and_a_model_that_is_here(visit: Visit) -> None:
    found = programs(visit.page("/docs"))
    assert list(found) == ["curl", "Python", "Node"]
    for text in found.values():
        assert f"{visit.live.base_url}/v1" in text
        assert MODEL in text
        assert "ONEREEL_API_KEY" in text


def test_a_key_is_made_and_shown_once(visit: Visit) -> None:
    made = visit.post("/docs/key")
    key = re.search(r"onereel_[\w-]{20,}", made.text)
    assert key
    assert made.headers["cache-control"] == "no-store"
    assert all(key[0] in text for text in programs(made.text).values())
    headers = {"Authorization": f"Bearer {key[0]}"}
    assert httpx.get(f"{visit.live.base_url}/v1/models", headers=headers, verify=False).status_code == 200
    assert key[0] not in visit.page("/docs")
    assert "Quickstart" in visit.page("/keys")


def test_who_may_make_no_key_is_not_offered_one(visit: Visit) -> None:
    viewer = visit.member("viewer", "docs-viewer@example.com")
    assert 'action="/docs/key"' not in viewer.page("/docs")
    assert viewer.post("/docs/key", status=403).json()["error"]["code"] == "missing_scope"


@pytest.mark.parametrize("language", ["Python", "curl"])
def test_the_quickstart_runs_as_it_stands(visit: Visit, tmp_path: Path, language: str) -> None:
    program = programs(visit.page("/docs"))[language]
    command = [sys.executable, "-c", program] if language == "Python" else ["bash", "-c", program]
    variables = {**os.environ, "ONEREEL_API_KEY": ADMIN_KEY}
    ran = subprocess.run(
        command, cwd=tmp_path, env=variables, timeout=60, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (video,) = tmp_path.glob("*.mp4")
    assert video.read_bytes()[4:8] == b"ftyp"


def test_the_receiver_of_webhooks_runs_as_it_stands(visit: Visit) -> None:
    program = programs(visit.page("/docs/webhooks"))["Python"].replace(", 9000)", ", 0)")
    program = program.replace("HTTPServer((", "server = HTTPServer((").replace(
        ".serve_forever()",
        "\nprint(server.server_port, flush=True)\nfor _ in range(2): server.handle_request()",
    )
    secret = "whsec_" + "bm90IGEgc2VjcmV0IG9mIGFueWJvZHkh"
    variables = {**os.environ, "WEBHOOK_SECRET": secret}
    receiver = subprocess.Popen(
        [sys.executable, "-c", program],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert receiver.stdout
        url = f"http://127.0.0.1:{int(receiver.stdout.readline())}/"
        body = '{"type": "video.completed", "data": {"id": "video_1"}}'
        signed = _signed(secret, body)
        assert httpx.post(url, content=body, headers=signed).status_code == 200
        assert httpx.post(url, content=body.replace("1", "2"), headers=signed).status_code == 400
        assert "video.completed" in receiver.stdout.readline()
    finally:
        receiver.kill()
        receiver.wait()


def _signed(secret: str, body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(secret).sign("evt_1", now, body)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }


def codes_in(path: Path) -> Iterator[str]:
    """Every code that a module names: `code=`, `default_code`, the last argument of `_refuse`, what `_code` gives."""
    for node in ast.walk(ast.parse(path.read_text())):
        for each in _code_nodes(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.value


def _code_nodes(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.Call(func=ast.Attribute(attr="_refuse"), args=[*_, last]):
            return [last]
        case ast.Call(keywords=keywords):
            return [each.value for each in keywords if each.arg == "code"]
        case ast.AnnAssign(target=ast.Name("default_code"), value=ast.AST() as value):
            return [value]
        case ast.Assign(targets=[ast.Name("default_code")], value=value):
            return [value]
        case ast.FunctionDef(name="_code"):
            given = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
            return [
                each for value in given if isinstance(value, ast.IfExp) for each in (value.body, value.orelse)
            ]
    return []


def test_the_page_of_errors_lacks_no_code(visit: Visit) -> None:
    raised = {
        code
        for path in ROOT.rglob("*.py")
        if not any(path.is_relative_to(each) for each in ONLY_PAGES)
        for code in codes_in(path)
    } | set(_CODES.values())
    told = [each.code for group in GROUPS for each in group.codes]
    assert set(told) == raised
    assert len(told) == len(set(told))
    page = visit.page("/docs/errors")
    assert all(f"<code>{code}</code>" in page for code in raised)


def test_each_way_to_fail_is_told() -> None:
    failures = {
        node.args[0].value
        for path in (ROOT / "jobs").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Failure"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {each.code for each in FAILED} == {*failures, *PUBLIC_CODES.values()}


def test_a_page_answers_at_once(visit: Visit) -> None:
    visit.page("/docs/errors")
    began = time.perf_counter()
    visit.page("/docs/errors")
    assert time.perf_counter() - began < 0.5
