"""The chart lints, renders, and runs the gateway locked down."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm" / "onereel"
HELM = Path(sys.executable).parent / "helm"


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False, timeout=60)


def render(tmp_path: Path, values: dict[str, Any] | None = None, release: str = "reel") -> dict[str, Any]:
    """The rendered objects by kind."""
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values or {}))
    done = helm("template", release, str(CHART), "--namespace", "video", "--values", str(file))
    assert done.returncode == 0, done.stderr
    return {each["kind"]: each for each in yaml.safe_load_all(done.stdout) if each}


def container(objects: dict[str, Any]) -> dict[str, Any]:
    (only,) = objects["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def environment(objects: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(objects)["env"]}


FULL: dict[str, Any] = {
    "image": {"repository": "registry.example.com/onereel", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "pull"}],
    "adminKey": {"existingSecret": "onereel-admin"},
    "config": '[[upstreams]]\nname = "acme"\n',
    "envFromSecrets": ["upstream-keys"],
    "env": [{"name": "ONEREEL_LOG_LEVEL", "value": "DEBUG"}],
    "publicUrl": "https://video.example.com",
    "persistence": {"storageClass": "fast", "size": "100Gi"},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "video.example.com",
        "tlsSecret": "video-tls",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "512m"},
    },
    "nodeSelector": {"disk": "ssd"},
}


@pytest.mark.parametrize("values", [{}, FULL])
def test_lint(tmp_path: Path, values: dict[str, Any]) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    done = helm("lint", "--strict", str(CHART), "--values", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_defaults_run_one_process_on_a_volume(tmp_path: Path) -> None:
    objects = render(tmp_path)
    assert objects.keys() == {"ConfigMap", "Service", "StatefulSet"}
    stateful = objects["StatefulSet"]["spec"]
    assert stateful["replicas"] == 1
    assert stateful["serviceName"] == objects["Service"]["metadata"]["name"] == "reel-onereel"
    (claim,) = stateful["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert container(objects)["command"] == ["onereel", "serve"]
    settings = environment(objects)
    assert settings["ONEREEL_DATA_DIR"] == "/data"
    assert settings["ONEREEL_HOST"] == "0.0.0.0"
    assert settings["ONEREEL_LOCAL__ENABLED"] == "false"
    assert "ONEREEL_ADMIN_KEY" not in settings
    mounts = {each["name"]: each["mountPath"] for each in container(objects)["volumeMounts"]}
    assert mounts == {"data": "/data", "tmp": "/tmp", "config": "/etc/onereel"}


def test_the_pod_is_locked_down(tmp_path: Path) -> None:
    objects = render(tmp_path)
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]


def test_probes_and_ports_meet(tmp_path: Path) -> None:
    objects = render(tmp_path)
    main = container(objects)
    assert main["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "http"}
    assert main["startupProbe"]["httpGet"] == {"path": "/health/live", "port": "http"}
    assert main["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http"}
    (port,) = main["ports"]
    assert port == {"name": "http", "containerPort": 8080}
    assert environment(objects)["ONEREEL_PORT"] == "8080"
    assert objects["Service"]["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    labels = objects["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"].items() <= labels.items()
    assert main["resources"]["limits"]["memory"] == "2Gi"


def test_every_value_arrives(tmp_path: Path) -> None:
    objects = render(tmp_path, FULL, release="onereel")
    assert objects["StatefulSet"]["metadata"]["name"] == "onereel"
    main, settings = container(objects), environment(objects)
    assert main["image"] == "registry.example.com/onereel:1.2.3"
    assert settings["ONEREEL_ADMIN_KEY"] == {"secretKeyRef": {"name": "onereel-admin", "key": "admin-key"}}
    assert settings["ONEREEL_LOG_LEVEL"] == "DEBUG"
    assert settings["ONEREEL_PUBLIC_URL"] == "https://video.example.com"
    assert main["envFrom"] == [{"secretRef": {"name": "upstream-keys"}}]
    assert objects["ConfigMap"]["data"]["onereel.toml"].strip() == FULL["config"].strip()
    ingress = objects["Ingress"]["spec"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == [{"secretName": "video-tls", "hosts": ["video.example.com"]}]
    (rule,) = ingress["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "onereel", "port": {"name": "http"}}
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    (claim,) = objects["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"


def test_a_new_config_restarts_the_pod(tmp_path: Path) -> None:
    def checksum(config: str) -> str:
        template = render(tmp_path, {"config": config})["StatefulSet"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum("a = 1") != checksum("a = 2")


def test_without_persistence_the_data_is_temporary(tmp_path: Path) -> None:
    objects = render(tmp_path, {"persistence": {"enabled": False}})
    assert "volumeClaimTemplates" not in objects["StatefulSet"]["spec"]
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    assert {"name": "data", "emptyDir": {}} in pod["volumes"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 3}, "replicas"),
        ({"image": {"repository": ""}}, "image.repository"),
        ({"ingress": {"enabled": True}}, "ingress"),
        ({"service": {"port": "eighty"}}, "service.port"),
        ({"persistence": {"size": "plenty"}}, "persistence.size"),
        ({"adminKey": "sk-in-plain-text"}, "adminKey"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, values: dict[str, Any], named: str) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    done = helm("template", "reel", str(CHART), "--values", str(file))
    assert done.returncode != 0
    assert named in done.stderr.replace("/", ".")


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
