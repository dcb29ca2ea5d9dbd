"""What the pods are: locked down, whole, found by what selects them, and started with what the program takes."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import serve
from gateway.settings import Settings
from local_backend.__main__ import _options
from tests.helm.chart import (
    CHART,
    VALUES,
    Manifest,
    containers,
    environment,
    matches,
    of_kind,
    pods,
    render,
    rendered,
)
from tests.test_docs import settings_rows

OTHER_VARIABLES = {"ONEREEL_CONFIG"}


@pytest.mark.parametrize("name", VALUES)
def test_every_container_is_locked_down(name: str) -> None:
    for workload, template in pods(rendered(name)):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }, workload
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
    for account in of_kind(rendered(name), "ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", VALUES)
def test_every_mount_has_its_volume_and_every_scratch_volume_its_limit(name: str) -> None:
    objects = rendered(name)
    configs, claims = of_kind(objects, "ConfigMap"), of_kind(objects, "PersistentVolumeClaim")
    for _, template in pods(objects):
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        mounted = {m["name"] for each in containers(template) for m in each["volumeMounts"]}
        assert mounted == volumes.keys()
        for volume in volumes.values():
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"]
            if "configMap" in volume:
                assert "onereel.toml" in configs[volume["configMap"]["name"]]["data"]
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in {*claims, "weights"}


def _selector(manifest: Manifest) -> dict[str, Any] | None:
    """Whom an object selects among pods."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Service":
        return {"matchLabels": spec["selector"]}
    if manifest["kind"] in {"Deployment", "PodDisruptionBudget"}:
        return dict(spec["selector"])
    return spec["podSelector"] if manifest["kind"] == "NetworkPolicy" else None


@pytest.mark.parametrize("name", VALUES)
def test_whatever_selects_finds_something(name: str) -> None:
    objects = rendered(name)
    labels = [template["metadata"]["labels"] for _, template in pods(objects)]
    services = [each["metadata"]["labels"] for each in of_kind(objects, "Service").values()]
    for each in objects:
        selector = _selector(each)
        if selector is not None:
            found = sum(matches(selector, pod) for pod in labels)
            assert found >= 1 if each["kind"] == "NetworkPolicy" else found == 1
        if each["kind"] == "ServiceMonitor":
            assert any(matches(each["spec"]["selector"], service) for service in services)
        if "scaleTargetRef" in each.get("spec", {}):
            assert each["spec"]["scaleTargetRef"]["name"] in of_kind(objects, "Deployment")
    for deployment in of_kind(objects, "Deployment").values():
        own = deployment["spec"]["template"]["metadata"]["labels"]
        assert matches(deployment["spec"]["selector"], own)


@pytest.mark.parametrize("name", VALUES)
def test_ports_that_are_named_exist(name: str) -> None:
    objects = rendered(name)
    ports = {t["metadata"]["labels"]["app.kubernetes.io/component"]: t for _, t in pods(objects)}
    for service in of_kind(objects, "Service").values():
        template = ports[service["spec"]["selector"]["app.kubernetes.io/component"]]
        named = {port["name"] for each in containers(template) for port in each.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for _, template in pods(objects):
        for container in containers(template):
            named = {port["name"] for port in container.get("ports", [])}
            probes = [
                container[p] for p in ("startupProbe", "livenessProbe", "readinessProbe") if p in container
            ]
            assert {probe["httpGet"]["port"] for probe in probes} <= named
            assert len(probes) == (3 if named else 0)


@pytest.mark.parametrize("name", VALUES)
def test_secrets_come_from_the_values_by_name_alone(name: str) -> None:
    values = VALUES[name].read_text()
    defaults = (CHART / "values.yaml").read_text()
    objects = rendered(name)
    assert not of_kind(objects, "Secret")
    for _, template in pods(objects):
        for container in containers(template):
            for variable, source in environment(container).items():
                if isinstance(source, dict):
                    reference = source["secretKeyRef"]
                    assert re.search(rf"\b{reference['name']}\b", values)
                    assert re.search(rf"\b{reference['key']}\b", values + defaults)
                else:
                    secret = r"(TOKEN|_KEYS?|SECRET|PASSWORD|DATABASE_URL|REDIS_URL)$"
                    assert not re.search(secret, variable) or source.startswith("/etc/"), variable
            for each in container.get("envFrom", []):
                assert re.search(rf"\b{each['secretRef']['name']}\b", values)


@pytest.mark.parametrize("name", VALUES)
def test_every_variable_is_a_setting(name: str) -> None:
    known = {variable for variable, _ in settings_rows()} | OTHER_VARIABLES
    for _, template in pods(rendered(name)):
        for container in containers(template):
            ours = {each for each in environment(container) if each.startswith("ONEREEL_")}
            assert ours <= known


@pytest.mark.parametrize("name", VALUES)
def test_the_commands_are_ones_that_the_program_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for workload, template in pods(rendered(name)):
        (container,) = template["spec"]["containers"]
        program, command, *rest = container["command"]
        assert program == "onereel"
        if command == "serve":
            context = serve.make_context("serve", rest)
            assert f"reel-onereel-{context.params['roles']}" == workload
            assert context.params["workers"] >= 1
        elif command == "worker":
            monkeypatch.setattr(sys, "argv", ["worker", *container["args"]])
            options = _options()
            assert options.port == container["ports"][0]["containerPort"]
            mounts = {Path(mount["mountPath"]) for mount in container["volumeMounts"]}
            assert {options.models_dir, options.token_file.parent, options.work_dir.parent} <= mounts
            assert options.drain_seconds < template["spec"]["terminationGracePeriodSeconds"]
        else:
            assert container["command"] == ["onereel", "db", "upgrade"]


@pytest.mark.parametrize("name", VALUES)
def test_the_configuration_is_one_that_the_gateway_takes(name: str, tmp_path: Path) -> None:
    objects = rendered(name)
    table = tomllib.loads(of_kind(objects, "ConfigMap")["reel-onereel"]["data"]["onereel.toml"])
    settings = Settings(data_dir=tmp_path, upstreams_from_env=False, **table)
    services = of_kind(objects, "Service")
    for upstream in settings.upstreams:
        if upstream.type == "local":
            host = re.fullmatch(r"http://([^.]+)\.video\.svc:9100/v1", upstream.base_url)
            assert host is not None
            assert services[host[1]]["spec"]["clusterIP"] == "None"
            assert upstream.max_concurrent == 2
    assert {each.name for each in settings.upstreams} == {
        "gateway_only": {"acme"},
        "keda": {"gpu"},
        "external_metric": {"gpu"},
        "everything": {"gpu"},
        "two_classes": {"large", "small"},
    }.get(name, set())


def test_where_something_scales_nobody_says_how_many() -> None:
    for name in VALUES:
        objects = rendered(name)
        scaled = {
            each["spec"]["scaleTargetRef"]["name"]
            for kind in ("HorizontalPodAutoscaler", "ScaledObject")
            for each in of_kind(objects, kind).values()
        }
        for workload, each in of_kind(objects, "Deployment").items():
            assert ("replicas" in each["spec"]) == (workload not in scaled)


def test_images_have_the_version_of_the_chart_unless_told_otherwise() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    images = {c["image"] for _, template in pods(rendered("everything")) for c in containers(template)}
    assert images == {f"onereel:{version}", f"onereel-worker:{version}"}
    images = {c["image"] for _, template in pods(rendered("gateway_only")) for c in containers(template)}
    assert images == {"registry.example.com:5000/onereel:1.2.3"}


def test_the_end_of_a_pod_waits_for_the_end_of_its_process() -> None:
    for name in VALUES:
        for _, template in pods(rendered(name)):
            variables = environment(template["spec"]["containers"][0])
            if "ONEREEL_DRAIN_SECONDS" in variables:
                parts = (
                    variables["ONEREEL_DRAIN_SECONDS"],
                    variables["ONEREEL_JOBS__SHUTDOWN_GRACE_SECONDS"],
                )
                wanted = sum(map(float, parts)) + 5 + 15
                assert template["spec"]["terminationGracePeriodSeconds"] > wanted


def test_the_gateway_never_takes_a_pod_away_before_another_is_ready() -> None:
    for name in VALUES:
        for workload, each in of_kind(rendered(name), "Deployment").items():
            rolling = each["spec"]["strategy"]["rollingUpdate"]
            if "worker" in workload:
                assert rolling == {"maxSurge": 0, "maxUnavailable": 1}
            else:
                assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_migration_needs_nothing_that_the_chart_makes() -> None:
    (job,) = of_kind(rendered("everything"), "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    assert all("emptyDir" in volume for volume in pod["volumes"])
    variables = environment(pod["containers"][0])
    assert {name for name, value in variables.items() if isinstance(value, dict)} == {"ONEREEL_DATABASE_URL"}
    assert not of_kind(rendered("gateway_only"), "Job")


def test_a_new_configuration_restarts_the_pods() -> None:
    def checksums(config: str) -> set[str]:
        values = yaml.safe_load(VALUES["minimal"].read_text()) | {"config": config}
        return {
            each["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for each in of_kind(render(values), "Deployment").values()
        }

    (one,), (two,) = checksums("# one"), checksums("# two")
    assert one != two


def test_each_class_of_workers_has_what_it_asks_for() -> None:
    objects = rendered("two_classes")
    workers = of_kind(objects, "Deployment")
    large = workers["reel-onereel-worker-large"]["spec"]["template"]["spec"]
    assert large["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert (large["runtimeClassName"], large["nodeSelector"]) == ("nvidia", {"gpu": "h100"})
    assert [each["command"][-1] for each in large["initContainers"]] == [
        "local/wan2.2-5b",
        "local/wan2.1-1.3b",
    ]
    assert environment(large["initContainers"][0])["HF_TOKEN"] == {
        "secretKeyRef": {"name": "hub", "key": "token"}
    }
    assert "--memory-bytes=60000000000" in large["containers"][0]["args"]
    assert workers["reel-onereel-worker-large"]["spec"]["replicas"] == 3
    small = workers["reel-onereel-worker-small"]["spec"]["template"]["spec"]
    assert "--features=compile" in small["containers"][0]["args"]
    cpu = workers["reel-onereel-worker-cpu"]["spec"]["template"]["spec"]
    assert cpu["containers"][0]["resources"]["limits"] == {"memory": "4Gi"}
    claims = of_kind(objects, "PersistentVolumeClaim")
    assert list(claims) == ["reel-onereel-worker-large"]
    assert claims["reel-onereel-worker-large"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_redis_is_left_out_where_there_is_none() -> None:
    for _, template in pods(rendered("no_redis")):
        assert "ONEREEL_REDIS_URL" not in environment(template["spec"]["containers"][0])
    policy = of_kind(rendered("no_redis"), "NetworkPolicy")["reel-onereel-api"]
    assert 6379 not in {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]}


def test_who_may_reach_whom() -> None:
    policies = of_kind(rendered("everything"), "NetworkPolicy")
    assert policies["reel-onereel-deny"]["spec"].keys() == {"podSelector", "policyTypes"}
    (worker,) = policies["reel-onereel-worker-gpu"]["spec"]["ingress"]
    roles = [each["podSelector"]["matchLabels"] for each in worker["from"] if "podSelector" in each]
    assert [each["app.kubernetes.io/component"] for each in roles] == ["api", "jobs"]
    assert worker["ports"] == [{"protocol": "TCP", "port": 9100}]
    assert "egress" not in policies["reel-onereel-worker-gpu"]["spec"]
    assert "ingress" not in policies["reel-onereel-migration"]["spec"]
    (api,) = of_kind(rendered("no_redis"), "NetworkPolicy")["reel-onereel-api"]["spec"]["ingress"]
    assert "from" not in api


def test_scrapes_carry_the_token() -> None:
    monitors = of_kind(rendered("everything"), "ServiceMonitor")
    secrets = {
        name: each["spec"]["endpoints"][0]["authorization"]["credentials"] for name, each in monitors.items()
    }
    assert secrets == {
        "reel-onereel": {"name": "onereel-metrics", "key": "token"},
        "reel-onereel-worker": {"name": "onereel-worker", "key": "token"},
    }


def test_requests_from_outside_reach_the_api() -> None:
    objects = rendered("everything")
    service = of_kind(objects, "Service")["reel-onereel"]
    (port,) = service["spec"]["ports"]
    (ingress,) = of_kind(objects, "Ingress").values()
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert (backend["name"], backend["port"]) == ("reel-onereel", {"name": port["name"]})
    (route,) = of_kind(objects, "HTTPRoute").values()
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "reel-onereel", "port": port["port"]}]
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "api"


def test_pods_of_a_kind_are_spread() -> None:
    for workload, template in pods(rendered("everything")):
        spread = template["spec"].get("topologySpreadConstraints", [])
        assert bool(spread) == ("migration" not in workload)
        for each in spread:
            assert matches(each["labelSelector"], template["metadata"]["labels"])
            assert each["whenUnsatisfiable"] == "DoNotSchedule"
