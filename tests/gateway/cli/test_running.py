"""Commands beside a running server, and the server's own start and stop."""

import json
import signal
import time
from pathlib import Path

import openai
import pytest

from gateway.lock import running_server
from providers.testing import FakeUpstream
from tests.gateway.cli.conftest import Command
from tests.server import MODEL, Server


def test_keys_go_through_the_running_server_without_any_key_in_hand(server: Server, beside: Command):
    made = beside("keys", "create", "--name", "dev")
    assert made.returncode == 0, made.stderr
    client = openai.OpenAI(base_url=server.api_url, api_key=made.stdout.strip(), max_retries=0)
    assert MODEL in [model.id for model in client.models.list()]
    [key] = [key for key in json.loads(beside("keys", "list", "--json").stdout) if key["name"] == "dev"]
    assert beside("keys", "limit", key["id"], "--concurrent-videos", "2").returncode == 0
    assert beside("keys", "revoke", key["id"]).returncode == 0
    with pytest.raises(openai.AuthenticationError, match="revoked"):
        client.models.list()


def test_an_operator_lists_the_credit_of_any_organization(server: Server, beside: Command):
    given = beside("credits", "grant", "2.50", "--reason", "thanks", "--organization", "org_default")
    assert given.returncode == 0, given.stderr
    assert "thanks" in beside("credits", "list", "--organization", "org_default").stdout
    unknown = beside("credits", "list", "--organization", "org_x")
    assert (unknown.returncode, "No organization with the id 'org_x'" in unknown.stderr) == (1, True)


def test_the_servers_own_refusal_is_shown(server: Server, beside: Command, tmp_path: Path):
    plain = beside("keys", "create").stdout.strip()
    away = {"ONEREEL_DATA_DIR": str(tmp_path / "elsewhere"), "ONEREEL_URL": server.base_url}
    refused = beside("keys", "list", env={**away, "ONEREEL_API_KEY": plain})
    assert refused.returncode == 1
    assert "lacks the scope 'organization'" in refused.stderr
    assert "Set ONEREEL_API_KEY" in beside("keys", "list", env=away).stderr
    nobody = beside("models", env={"ONEREEL_URL": "http://127.0.0.1:1", "ONEREEL_API_KEY": "x"})
    assert "No server answers at http://127.0.0.1:1" in nobody.stderr
    strange = beside("models", env={"ONEREEL_URL": "server", "ONEREEL_API_KEY": "x"})
    assert "'server' is no address" in strange.stderr


def test_models_as_a_table(beside: Command):
    shown = beside("models")
    assert shown.returncode == 0, shown.stderr
    header, *rows = shown.stdout.splitlines()
    assert header.split()[:2] == ["MODEL", "UPSTREAM"]
    assert rows[0].split()[:3] == [MODEL, "acme", "4,8,12"]
    assert "0.10/output_second" in rows[0]
    assert json.loads(beside("models", "--json").stdout)[0]["id"] == MODEL


def test_upstreams_check_spends_nothing(beside: Command, upstream: FakeUpstream):
    before = beside("upstreams", "check")
    assert before.returncode == 0, before.stdout + before.stderr
    assert before.stdout.splitlines()[1].split()[:3] == ["acme", "openai_compatible", "ok"]
    assert "upstream-secret" not in before.stdout


def test_generate_saves_the_video(beside: Command, tmp_path: Path):
    made = beside("generate", "a fox in snow", "-o", "fox.mp4", "--seconds", "4", "--size", "1280x720")
    assert (made.returncode, made.stdout) == (0, "fox.mp4\n"), made.stderr
    assert (tmp_path / "fox.mp4").read_bytes()[4:8] == b"ftyp"
    assert not list(tmp_path.glob("*.part"))
    assert "video_" in made.stderr


def test_generate_from_an_image(beside: Command, tmp_path: Path, upstream: FakeUpstream):
    from PIL import Image

    Image.new("RGB", (1280, 720), "navy").save(tmp_path / "frame.png")
    options = ("--size", "1280x720", "--seed", "7", "--model", MODEL)
    made = beside("generate", "waves", "--image", "frame.png", "-o", "waves.mp4", *options)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "waves.mp4").stat().st_size > 1000
    missing = beside("generate", "waves", "--image", "nothing.png")
    assert "There is no file 'nothing.png'" in missing.stderr


def test_generate_tells_why_it_failed(beside: Command, tmp_path: Path):
    wrong = beside("generate", "a fox", "--size", "1x1", "-o", "never.mp4")
    assert wrong.returncode == 1
    assert "size" in wrong.stderr
    assert not (tmp_path / "never.mp4").exists()
    unwritable = beside("generate", "a fox", "-o", "no/such/folder/fox.mp4")
    assert unwritable.returncode == 1
    assert "cannot be written" in unwritable.stderr


def test_doctor_finds_the_server_ready(beside: Command):
    shown = beside("doctor")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "is ready" in shown.stdout


def test_a_second_server_is_refused_and_told_of_postgresql(server: Server, beside: Command):
    second = beside("serve")
    assert (second.returncode, second.stdout) == (1, "")
    assert f"process {server.pid} at {server.base_url}" in second.stderr
    assert "PostgreSQL" in second.stderr
    upgrade = beside("db", "upgrade")
    assert "stop it first" in upgrade.stderr


def test_first_start_shows_the_admin_key_once_and_a_stop_is_orderly(upstream: FakeUpstream, tmp_path: Path):
    env = {"ONEREEL_ADMIN_KEY": "", "ONEREEL_PORT": "0"}
    servers = [Server(upstream=upstream, env=env, data_dir=tmp_path) for _ in range(2)]
    logs = []
    for each in servers:
        each.start(ready=False)
        running = _wait_listening(tmp_path / "data")
        assert running.startswith("http://127.0.0.1:")
        assert each.process
        each.process.send_signal(signal.SIGTERM)
        assert each.process.wait(20) == 0
        assert running_server(tmp_path / "data") is None
        logs.append(each.log_path.read_text())
    assert logs[0].count("Admin API key (shown only this once") == 1
    assert logs[1].count("Admin API key (shown only this once") == 1  # the same file, nothing added
    assert (tmp_path / "data" / "lock").read_text() == ""


def test_a_taken_port_is_a_clear_failure(server: Server, beside: Command, tmp_path: Path):
    taken = beside("serve", "--port", str(server.port), env={"ONEREEL_DATA_DIR": str(tmp_path / "other")})
    assert taken.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{server.port}" in taken.stderr


def _wait_listening(data_dir: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        running = running_server(data_dir)
        if running and running.url:
            return running.url
        time.sleep(0.05)
    raise AssertionError("the server did not listen")
