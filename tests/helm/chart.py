"""Render the chart with the real helm, once for each set of values, and judge what comes out by public schemas."""

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from tests.helm.custom_resources import SCHEMAS

CHART = Path(__file__).parents[2] / "helm" / "onereel"
HELM = Path(sys.executable).parent / "helm"
VALUES = {path.stem: path for path in sorted((Path(__file__).parent / "values").glob("*.yaml"))}
RELEASE, NAMESPACE = "reel", "video"

Manifest = dict[str, Any]


def helm(*arguments: str, values: Any = None) -> subprocess.CompletedProcess[str]:
    """Run helm; `values` go in by stdin."""
    given = ["--values", "-"] if values is not None else []
    return subprocess.run(
        [HELM, *arguments, *given],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@functools.cache
def rendered(name: str) -> tuple[Manifest, ...]:
    """Every object that the chart makes of a set of values."""
    return render(yaml.safe_load(VALUES[name].read_text()))


def render(values: Any, chart: Path = CHART) -> tuple[Manifest, ...]:
    """Every object that the chart makes of these values."""
    done = helm("template", RELEASE, str(chart), "--namespace", NAMESPACE, values=values)
    assert done.returncode == 0, done.stderr
    return tuple(each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each)


def refused(values: Any) -> str:
    """What helm says of values that it does not take."""
    done = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, values=values)
    assert done.returncode != 0
    return done.stderr


def minimal(**values: Any) -> dict[str, Any]:
    """The least that renders, and these values over it."""
    return {**yaml.safe_load(VALUES["minimal"].read_text()), **values}


def of_kind(objects: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    """By name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def pods(objects: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """The name of each workload, and its pod template."""
    for each in objects:
        if each["kind"] in {"Deployment", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]


def containers(template: Manifest) -> list[Manifest]:
    """Those that start first, and the others."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def environment(container: Manifest) -> dict[str, Any]:
    """Each variable's value, or where it comes from."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels. An empty one takes all."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In", each
        if labels.get(each["key"]) not in each["values"]:
            return False
    return True


@functools.cache
def _builtin(version: str, kind: str, api_version: str) -> Any:
    group, _, number = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.split(".")[0], number)))
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    schema = schema_contents(f"{folder}/{name}.json", version)
    registry: Any = _definitions(folder, version).with_resource(
        f"{name}.json", Resource.from_contents(schema)
    )
    return jsonschema.Draft202012Validator(schema, registry=registry)


@functools.cache
def _definitions(folder: str, version: str) -> Any:
    registry: Any = Registry()
    return Resource.from_contents(schema_contents(f"{folder}/_definitions.json", version)) @ registry


def problems(manifest: Manifest, version: str) -> list[str]:
    """What Kubernetes of that version, or the operator whose resource this is, would not know in it."""
    kind = manifest["kind"]
    validator = (
        jsonschema.Draft202012Validator(SCHEMAS[kind])
        if kind in SCHEMAS
        else _builtin(version, kind, manifest["apiVersion"])
    )
    where = f"{kind} {manifest['metadata']['name']}"
    return [
        f"{where}: {'.'.join(map(str, e.absolute_path))}: {e.message}"
        for e in validator.iter_errors(manifest)
    ]
