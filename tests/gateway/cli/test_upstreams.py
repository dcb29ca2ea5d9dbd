"""`onereel upstreams` with and without a server."""

import json
from pathlib import Path

from providers.testing import FakeUpstream
from tests.gateway.cli.conftest import Command


def test_the_life_of_an_upstream_without_a_server(onereel: Command, tmp_path: Path, upstream: FakeUpstream):
    nothing = onereel("upstreams", "list")
    assert (nothing.returncode, "no upstream yet" in nothing.stderr) == (0, True)
    (tmp_path / "models.json").write_text(json.dumps([{"id": "acme/slow", "upstream_model": "slow-1"}]))
    options = ("--models-file", "models.json", "--priority", "2", "--weight", "3", "--option", "format=json")
    added = onereel(
        "upstreams", "add", "mine", "--base-url", upstream.base_url, *options, stdin="my secret\n"
    )
    assert (added.returncode, added.stdout) == (0, "mine offers acme/slow.\n"), added.stderr
    (shown,) = json.loads(onereel("upstreams", "list", "--json").stdout)
    assert (shown["priority"], shown["weight"], shown["options"]) == (2, 3, {"format": "json"})
    checked = onereel("upstreams", "check", "mine")
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.splitlines()[1].split()[:3] == ["mine", "openai_compatible", "ok"]
    rotated = onereel("upstreams", "rotate", "mine", stdin="another\n")
    assert rotated.stdout == "mine uses version 2 of its key.\n"
    assert onereel("upstreams", "pause", "mine", "--reason", "holidays").returncode == 0
    assert "paused (operator)" in onereel("upstreams", "list").stdout
    assert onereel("upstreams", "resume", "mine").stdout == "mine takes videos.\n"
    assert "0 of its videos still run" in onereel("upstreams", "remove", "mine").stdout
    gone = onereel("upstreams", "rotate", "mine", stdin="x")
    assert (gone.returncode, "No upstream 'mine'" in gone.stderr) == (1, True)
    for done in (added, rotated, checked):
        assert "secret" not in done.stdout + done.stderr


def test_wrong_usage_says_what_to_do(onereel: Command):
    keyless = onereel("upstreams", "add", "mine")
    assert (keyless.returncode, "--no-key" in keyless.stderr) == (1, True)
    unknown = onereel("upstreams", "add", "mine", "--type", "nobody", "--no-key")
    assert (unknown.returncode, "There is no upstream type 'nobody'" in unknown.stderr) == (1, True)
    assert onereel("upstreams", "add", "mine", "--option", "region", "--no-key").returncode == 2


def test_beside_a_server_its_models_are_offered_at_once(
    beside: Command, tmp_path: Path, upstream: FakeUpstream
):
    (tmp_path / "models.json").write_text(json.dumps([{"id": "late/model"}]))
    added = beside(
        "upstreams",
        "add",
        "late",
        "--base-url",
        upstream.base_url,
        "--models-file",
        "models.json",
        "--no-key",
    )
    assert added.returncode == 0, added.stderr
    assert "late/model" in beside("models").stdout
    assert beside("upstreams", "remove", "late").returncode == 0
    assert "late/model" not in beside("models").stdout
