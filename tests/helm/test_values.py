"""Wrong values are refused by name, before anything reaches a cluster."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, VALUES, containers, environment, minimal, of_kind, pods, refused, render

GPU = {"name": "gpu", "models": ["local/wan2.2-5b"]}
OWN = """
[[local.own_models]]
id = "lab/fox"
"""


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 3}, "Additional property replicas is not allowed"),
        ({"image": {"repository": ""}}, "image.repository"),
        ({"image": {"repository": "onereel:latest"}}, "image.repository"),
        ({"ingress": {"enabled": True}}, "ingress.host"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
        ({"service": {"port": "eighty"}}, "service.port"),
        ({"adminKey": "sk-in-plain-text"}, "adminKey"),
        (
            {"adminKey": {"existingSecret": "admin", "value": "sk-1"}},
            "Additional property value is not allowed",
        ),
        ({"extraEnv": [{"name": "ACME_KEY", "value": "sk-1"}]}, "extraEnv.0"),
        ({"storage": {"url": "file:///data"}}, "storage.url"),
        ({"api": {"dataSize": "plenty"}}, "api.dataSize"),
        ({"api": {"autoscaling": {"mode": "keda"}}}, "Additional property mode is not allowed"),
        ({"jobs": {"autoscaling": {"mode": "off"}}}, "jobs.autoscaling.mode"),
        ({"workers": {"classes": [{"name": "gpu", "models": []}]}}, "workers.classes.0.models"),
        ({"workers": {"classes": [{**GPU, "name": "A GPU"}]}}, "workers.classes.0.name"),
        ({"workers": {"classes": [{**GPU, "gpu": {"count": 2}}]}}, "workers.classes.0.gpu.count"),
        ({"workers": {"classes": [{**GPU, "modles": []}]}}, "Additional property modles is not allowed"),
        # What the schema cannot say, the templates do.
        ({"database": {"existingSecret": ""}}, "database.existingSecret: name the Secret"),
        ({"encryptionKeys": {"existingSecret": ""}}, "encryptionKeys.existingSecret: name the Secret"),
        ({"storage": {"url": ""}}, "storage.url: an object store that all pods share"),
        ({"workers": {"classes": [GPU]}}, "workers.token.existingSecret: name the Secret"),
        ({"monitoring": {"serviceMonitor": {"enabled": True}}}, "metrics.existingSecret: name the Secret"),
        ({"jobs": {"autoscaling": {"mode": "keda"}}}, "keda.serverAddress: the address of Prometheus"),
        (
            {
                "metrics": {"existingSecret": "metrics"},
                "monitoring": {"serviceMonitor": {"enabled": True}},
                "networkPolicy": {"enabled": True},
            },
            "networkPolicy.metricsFrom: name the peers that may scrape",
        ),
        (
            {"workers": {"token": {"existingSecret": "worker"}, "classes": [{**GPU, "config": OWN}]}},
            "set upstream.enabled: false and write its [[upstreams]]",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    assert named in refused(minimal(**values)).replace("/", ".")


def _named(schema: Any) -> set[str]:
    """The names that a part of the schema takes."""
    return set(schema.get("properties", {}))


def test_the_schema_knows_every_value_and_says_what_it_is() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert _named(schema) == {*defaults, "global"}
    for name in ("api", "jobs", "migration", "monitoring", "networkPolicy"):
        assert _named(schema["properties"][name]) == defaults[name].keys()
    workers = schema["properties"]["workers"]["properties"]["defaults"]
    assert _named(workers) == defaults["workers"]["defaults"].keys()
    assert _named(schema["definitions"]["class"]) == {*_named(workers), "name", "models"}
    loose = [where for where, each in _objects(schema) if each.get("additionalProperties") is not False]
    assert loose == []


def _objects(node: Any, where: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, list):
        return [found for each in node for found in _objects(each, where)]
    if not isinstance(node, dict):
        return []
    own = [(where, node)] if node.get("type") == "object" and "properties" in node else []
    return own + [found for key, each in node.items() for found in _objects(each, f"{where}.{key}")]


def test_there_are_enough_sets_of_values() -> None:
    assert VALUES.keys() >= {"minimal", "everything", "keda", "no_redis", "gateway_only", "two_classes"}


def test_the_example_of_the_page_renders() -> None:
    page = (CHART.parents[1] / "docs" / "deploy.md").read_text()
    gateway, workers = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    objects = render({**gateway, **workers})
    assert of_kind(objects, "Deployment").keys() == {
        f"reel-onereel-{each}" for each in ("api", "jobs", "worker-large", "worker-small")
    }
    keys = set(re.findall(r"--from-literal=([\w-]+)=", page))
    named = {
        source["secretKeyRef"]["key"]
        for _, template in pods(objects)
        for container in containers(template)
        for source in environment(container).values()
        if isinstance(source, dict) and source["secretKeyRef"]["name"] == "onereel"
    }
    assert named == keys - {"XAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_weights_of_own_models_are_pulled_as_their_configuration_says() -> None:
    own = {**GPU, "models": ["lab/fox", "onereel/demo"], "config": OWN, "upstream": {"enabled": False}}
    classes = {"token": {"existingSecret": "worker"}, "classes": [{**own, "pull": {"enabled": True}}]}
    made = render(minimal(workers=classes))
    deployments = of_kind(made, "Deployment")
    (worker,) = (each for name, each in deployments.items() if name.endswith("worker-gpu"))
    (pull,) = worker["spec"]["template"]["spec"]["initContainers"]
    assert pull["command"] == ["onereel", "models", "pull", "lab/fox"]
    assert environment(pull)["ONEREEL_CONFIG"] == "/etc/onereel/onereel.toml"
    assert "/etc/onereel" in [mount["mountPath"] for mount in pull["volumeMounts"]]
