"""compose.yaml and .env.example, as far as they can be judged without an engine."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import serve
from gateway.settings import Settings
from local_backend.__main__ import _options
from tests.deploy.test_images import stages, words
from tests.test_docs import settings_rows

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("migrate", "api", "jobs", "worker")
FIELDS = {
    "build", "cap_drop", "command", "depends_on", "deploy", "env_file", "environment", "healthcheck", "image", "ports",
    "profiles", "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip


def example() -> dict[str, str]:
    """The variables of .env.example, those that are commented out too."""
    rows = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return {name: value.strip("'") for name, value in rows}


def test_what_the_fleet_is_made_of() -> None:
    assert SERVICES.keys() == {"postgres", "redis", "storage", "migrate", "api", "jobs", "worker"}
    assert COMPOSE.keys() == {"name", "x-gateway", "services", "volumes"}
    for name, service in SERVICES.items():
        assert service.keys() <= FIELDS, name
        assert re.search(r":[0-9][\w.-]*$", service["image"]), f"{name} has no version"


def test_whatever_is_named_exists() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= SERVICES.keys()
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"]
        named = {each.partition(":")[0] for each in service.get("volumes", []) if ":" in each}
        assert named <= COMPOSE["volumes"].keys()
        if "build" in service:
            assert service["build"]["target"] in stages()
    assert COMPOSE["volumes"].keys() == {"postgres", "storage", "models"}


def test_nothing_starts_before_the_database_is_migrated() -> None:
    assert SERVICES["migrate"]["command"] == ["onereel", "db", "upgrade"]
    assert SERVICES["migrate"]["restart"] == "no"
    for name in ("api", "jobs"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/data" in service["volumes"]


def test_only_the_api_is_published_and_to_this_machine_alone() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "api": ["127.0.0.1:8080:8080"]
    }


def test_the_commands_are_ones_that_the_program_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("api", "jobs"):
        program, command, *rest = SERVICES[name]["command"]
        assert (program, command) == ("onereel", "serve")
        assert serve.make_context("serve", rest).params["roles"] == name
    monkeypatch.setattr(sys, "argv", SERVICES["worker"]["command"][1:])
    options = _options()
    assert words("worker", "EXPOSE") == [str(options.port)]
    assert float(SERVICES["worker"]["stop_grace_period"].rstrip("s")) > options.drain_seconds


def test_the_end_of_a_container_waits_for_the_end_of_its_process() -> None:
    for name in ("api", "jobs"):
        drain = float(SERVICES[name]["environment"]["ONEREEL_DRAIN_SECONDS"])
        grace = Settings(upstreams_from_env=False).jobs.shutdown_grace_seconds
        assert float(SERVICES[name]["stop_grace_period"].rstrip("s")) > drain + 5 + grace + 15


def test_every_variable_is_a_setting_or_known_elsewhere() -> None:
    known = {variable for variable, _ in settings_rows()} | {"ONEREEL_WORKER_TOKEN"}
    ours = {
        each for service in SERVICES.values() for each in service.get("environment", {})
    } | example().keys()
    assert {each for each in ours if each.startswith("ONEREEL_")} <= known


def test_secrets_come_from_the_environment_file_alone() -> None:
    used = dict(re.findall(r"\$\{(\w+)(?::([-?][^}]*))?\}", TEXT))
    assert used.keys() <= {*example(), "AWS_REGION"}
    secret = {name for name in used if re.search("PASSWORD|TOKEN|SECRET|ACCESS_KEY", name)}
    assert all(used[name].startswith("?") or used[name] == "-" for name in secret)
    assert {
        name for name, value in example().items() if value and re.search("PASSWORD|TOKEN|SECRET", name)
    } == set()


def test_the_upstream_of_the_example_is_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEREEL_UPSTREAMS", example()["ONEREEL_UPSTREAMS"])
    (worker,) = Settings(data_dir=tmp_path, upstreams_from_env=False).upstreams
    assert worker.base_url == "http://worker:9100/v1"
    assert [model.id for model in worker.models] == example()["WORKER_MODELS"].split(",")
    assert worker.api_key_env == "WORKER_TOKEN"
