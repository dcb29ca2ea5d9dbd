"""The dashboard and the alerts ask for what is really there, in words that Prometheus understands."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from providers.testing import FakeUpstream
from tests.gateway.jobs.fleet import MODEL, TOKEN, Worker
from tests.gateway.live import live, settings_for
from tests.gateway.observability.test_tracing import create, until, upstream
from tests.server import free_port

ROOT = Path(__file__).parents[3]
FILES = ROOT / "helm" / "onereel" / "files"
VARIABLES = {"$__rate_interval": "5m", "$model": ".*", "$job": ".*"}
ROWS = [
    "Are videos finishing?",
    "Is money moving?",
    "Which upstream is sick?",
    "Are GPUs busy?",
    "Is the API healthy?",
]


def dashboard() -> dict[str, Any]:
    return dict(json.loads((FILES / "dashboard.json").read_text()))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def plain(expr: str) -> str:
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr.replace("$labels", "").replace("$value", ""), expr
    return expr


def expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [plain(expr) for expr in [*asked, *(rule["expr"] for rule in rules())]]


def selected(node: Any) -> Iterator[tuple[str, list[str]]]:
    """Every metric of an expression, with the labels it is selected by."""
    if isinstance(node, promql_parser.VectorSelector):
        yield str(node.name), [matcher.name for matcher in node.matchers.matchers]
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str):
            yield from selected(child)
    for child in getattr(node, "args", None) or ():
        yield from selected(child)


@pytest.fixture(scope="module")
async def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of every metric, by name, as a gateway that has made a video and a worker show them."""
    folder = tmp_path_factory.mktemp("exposed")
    with FakeUpstream(poll_after_ms=50) as fake:
        settings = settings_for(folder / "gateway", upstreams=[upstream(fake.base_url, max_concurrent=5)])
        with live(settings) as gateway, gateway.client() as client:
            until(client, create(client).json()["id"], "completed")
            text = client.get("/metrics").text
    worker = Worker(folder, "127.0.0.1", port := free_port(), [MODEL])
    await worker.start()
    try:
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as asking:
            text += (await asking.get(f"http://127.0.0.1:{port}/metrics")).text
    finally:
        await worker.stop()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        names = [family.name, f"{family.name}_total"] if family.type == "counter" else [family.name]
        for name in names:
            found.setdefault(name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def test_every_metric_that_is_asked_for_exists(exposed: dict[str, set[str]]) -> None:
    for expr in expressions():
        found = list(selected(promql_parser.parse(expr)))
        assert found, expr
        for name, labels in found:
            assert name in exposed or name == "onereel_redis_up", (name, expr)  # shown where there is one
            if exposed.get(name):  # nobody has counted anything yet where it has no labels
                assert set(labels) - {"job"} <= exposed[name], (name, labels, expr)


def test_the_reader_of_expressions_finds_them() -> None:
    expr = 'histogram_quantile(0.9, sum by (le) (rate(a_bucket{b="c"}[5m]))) / max(d) > 1 and absent(e) or -f'
    assert sorted(selected(promql_parser.parse(expr))) == [
        ("a_bucket", ["b"]),
        ("d", []),
        ("e", []),
        ("f", []),
    ]


def test_gauges_that_every_process_answers_alike_are_never_summed() -> None:
    from tests.gateway.observability.test_merge import DATABASE_WIDE

    for expr in expressions():
        for name in DATABASE_WIDE:
            greatest = rf"max(?: by \([^)]*\))? ?\({name}(?:{{[^}}]*}})?\)"
            outside = re.sub(greatest, "", expr)
            assert not re.search(rf"\b{name}\b", outside) or f"absent({name})" in outside, expr


def test_the_dashboard_answers_the_five_questions() -> None:
    board = dashboard()
    assert board["uid"] == "onereel"
    assert [panel["title"] for panel in board["panels"] if panel["type"] == "row"] == ROWS
    assert "datasource" in [
        each["name"] for each in board["templating"]["list"] if each["type"] == "datasource"
    ]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "observability.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"].endswith(".")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor) == ("docs/observability.md", rule["alert"].lower())
        assert anchor in anchors, rule["alert"]
        assert "for" in rule or "increase(" in rule["expr"] or "delta(" in rule["expr"]
