"""The chart lints and renders for every set of values in `values/`, and each object is one that a cluster would take."""

import json
import shutil
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.helm.chart import CHART, VALUES, helm, minimal, of_kind, problems, render, rendered

OLDEST, NEWEST = "1.27.0", "1.37.0"
ON = {
    "ConfigMap", "Deployment", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy",
    "PersistentVolumeClaim", "PodDisruptionBudget", "PrometheusRule", "ScaledObject", "Service", "ServiceAccount",
    "ServiceMonitor",
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_lint(name: str) -> None:
    done = helm("lint", "--strict", str(CHART), values=yaml.safe_load(VALUES[name].read_text()))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", VALUES)
def test_every_object_is_one_that_a_cluster_takes(name: str) -> None:
    objects = rendered(name)
    assert [each for version in (OLDEST, NEWEST) for o in objects for each in problems(o, version)] == []
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def test_a_misspelt_field_would_be_seen() -> None:
    for kind in ("Deployment", "HTTPRoute", "ScaledObject", "ServiceMonitor"):
        manifest = next(each for each in rendered("everything") if each["kind"] == kind)
        changed = {**manifest, "spec": {**manifest["spec"], "replica": 1}}
        assert problems(changed, NEWEST)


def test_what_can_be_switched_on() -> None:
    assert {each["kind"] for each in rendered("everything")} == ON
    assert {each["kind"] for each in rendered("minimal")} == {
        "ConfigMap", "Deployment", "Job", "PodDisruptionBudget", "Service", "ServiceAccount",
    }  # fmt: skip


def _queries() -> list[str]:
    found = []
    for name in VALUES:
        for each in rendered(name):
            if each["kind"] == "PrometheusRule":
                found += [rule["expr"] for group in each["spec"]["groups"] for rule in group["rules"]]
            elif each["kind"] == "ScaledObject":
                found += [trigger["metadata"]["query"] for trigger in each["spec"]["triggers"]]
    return found


def test_every_query_is_promql() -> None:
    queries = _queries()
    assert 'max(onereel_queue_age_seconds{namespace="video"})' in queries
    assert 'max(onereel_upstream_in_flight{namespace="video",upstream="gpu"})' in queries
    for query in queries:
        promql_parser.parse(query)
    with pytest.raises(ValueError):
        promql_parser.parse("max(onereel_queue_age_seconds{)")


def test_the_rules_and_the_dashboard_are_the_files() -> None:
    objects = rendered("everything")
    (rule,) = of_kind(objects, "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    board = of_kind(objects, "ConfigMap")["reel-onereel-dashboard"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    shown: Any = json.loads(board["data"]["onereel.json"])
    assert shown == json.loads((CHART / "files" / "dashboard.json").read_text())


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project


def test_the_notes_say_what_is_missing(tmp_path: Path) -> None:
    # `helm template` leaves the notes out, so a copy of the chart shows them as an object.
    chart = shutil.copytree(CHART, tmp_path / "onereel")
    notes = (chart / "templates" / "NOTES.txt").read_text()
    shown = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata: {text: {{ include "notes" . | quote }}}\n'
    (chart / "templates" / "notes.yaml").write_text(f'{{{{ define "notes" }}}}{notes}{{{{ end }}}}\n{shown}')
    text = of_kind(render(minimal(), chart), "ConfigMap")["notes"]["data"]["text"]
    assert "http://reel-onereel.video.svc:80/v1" in text
    for missing in ("adminKey.existingSecret", "No upstream", "c2pa.existingSecret", "redis.existingSecret"):
        assert missing in text
