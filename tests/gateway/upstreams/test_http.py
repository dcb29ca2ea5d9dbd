"""Upstreams over HTTP on one server: kept encrypted, offered at once, pinned credentials, honest checks."""

import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from providers.testing import FakeUpstream
from tests.gateway.live import Live, live, settings_for

MODEL = {"id": "acme/fast", "upstream_model": "fast-1", "price_per_second_usd": "0.10"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    configured = {"name": "file", "base_url": "http://127.0.0.1:9/v1", "models": [{"id": "file/only"}]}
    settings = settings_for(tmp_path_factory.mktemp("gateway"), upstreams=[configured])
    with live(settings) as running:
        yield running


@pytest.fixture
def client(gateway: Live) -> Iterator[httpx.Client]:
    with gateway.client() as made:
        yield made


def added(client: httpx.Client, fake: FakeUpstream, name: str, **fields: Any) -> dict[str, Any]:
    body = {
        "name": name,
        "base_url": fake.base_url,
        "api_key": f"secret-of-{name}",
        "models": [MODEL],
        **fields,
    }
    answer = client.post("/v1/upstreams", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def make(client: httpx.Client, prompt: str = "a cat", *, wait: bool = True) -> dict[str, Any]:
    video = client.post("/v1/videos", json={"prompt": prompt, "model": "acme/fast"}).json()
    return ended(client, video["id"]) if wait else dict(video)


def ended(client: httpx.Client, video_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        video = client.get(f"/v1/videos/{video_id}").json()
        if video["status"] in ("completed", "failed"):
            return dict(video)
        time.sleep(0.05)
    raise AssertionError(f"{video_id} did not end")


def test_the_life_of_an_upstream(client: httpx.Client, gateway: Live, fake: FakeUpstream):
    fake.reset()
    made = added(client, fake, "acme", priority=5, options={"api_secret": "x", "format": "multipart"})
    assert (made["source"], made["status"], made["breaker"]) == ("database", "active", "closed")
    assert made["credential"] == {"set": True, "env": None, "version": 1, "kept": [1]}
    assert made["options"] == {"api_secret": "[hidden]", "format": "multipart"}
    assert "secret-of-acme" not in str(made)
    assert "acme/fast" in [each["id"] for each in client.get("/v1/models").json()["data"]]
    assert make(client)["status"] == "completed"
    assert {r["headers"].get("authorization") for r in fake.requests()} == {"Bearer secret-of-acme"}
    database = sqlite3.connect(gateway.settings.data_dir / "onereel.db")
    assert "secret-of-acme" not in "\n".join(database.iterdump())
    database.close()
    changed = client.post("/v1/upstreams/acme", json={"max_concurrent": 3, "priority": None}).json()
    assert (changed["max_concurrent"], changed["priority"]) == (3, 0)
    paused = client.post("/v1/upstreams/acme/pause", json={"reason": "maintenance"}).json()
    assert (paused["status"], paused["pause"]["message"]) == ("paused", "maintenance")
    waiting = make(client, wait=False)
    assert client.post("/v1/upstreams/acme/resume").json()["status"] == "active"
    assert client.delete("/v1/upstreams/acme").json()["deleted"] is True
    assert client.get("/v1/upstreams/acme").status_code == 404
    assert client.post("/v1/videos", json={"prompt": "x", "model": "acme/fast"}).status_code == 404
    fate = ended(client, waiting["id"])  # taken in the moment between, or told that nobody serves it any more
    assert fate["status"] == "completed" or fate["error"]["code"] == "provider_error"


def test_a_rotated_credential_is_for_what_begins_after_it(client: httpx.Client, fake: FakeUpstream):
    fake.reset()
    added(client, fake, "turning")
    fake.config(run_seconds=[2, 2])
    running = make(client, "the first", wait=False)
    deadline = time.monotonic() + 20
    while client.get(f"/v1/videos/{running['id']}").json()["status"] == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    rotated = client.post("/v1/upstreams/turning/rotate", json={"api_key": "newer"}).json()
    assert (rotated["credential"]["version"], rotated["credential"]["kept"]) == (2, [1, 2])
    fake.config(run_seconds=[0, 0])
    assert make(client, "the second")["status"] == "completed"
    assert ended(client, running["id"])["status"] == "completed"
    first, second = (r for r in fake.requests("POST") if r["path"] == "/v1/videos")
    assert [r["headers"]["authorization"] for r in (first, second)] == [
        "Bearer secret-of-turning",
        "Bearer newer",
    ]
    keys: dict[str, set[str]] = {}
    for request in fake.requests("GET"):
        keys.setdefault(request["path"].split("/")[3], set()).add(request["headers"]["authorization"])
    assert sorted(map(sorted, keys.values())) == [["Bearer newer"], ["Bearer secret-of-turning"]]
    (attempt,) = client.get(f"/v1/videos/{running['id']}/attempts").json()["data"]
    assert (attempt["credential_version"], attempt["status"]) == (1, "completed")
    client.delete("/v1/upstreams/turning")


def test_a_removed_upstream_ends_what_it_has_begun(client: httpx.Client, fake: FakeUpstream):
    fake.reset()
    added(client, fake, "leaving")
    fake.config(run_seconds=[1.5, 1.5])
    video = make(client, wait=False)
    deadline = time.monotonic() + 20
    while client.get(f"/v1/videos/{video['id']}").json()["status"] == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.delete("/v1/upstreams/leaving").json()["live_videos"] == 1
    taken = client.post(
        "/v1/upstreams", json={"name": "leaving", "base_url": fake.base_url, "models": [MODEL]}
    )
    assert taken.json()["error"]["code"] == "name_taken"
    assert ended(client, video["id"])["status"] == "completed"


def test_the_owner_sees_every_attempt_and_only_the_operator_the_upstreams_words(
    client: httpx.Client, gateway: Live, fake: FakeUpstream
):
    fake.reset()
    fake.fault("auth", 1)
    added(client, fake, "locked", priority=0)
    added(client, fake, "open", priority=1)
    project = client.get("/v1/organization/projects").json()["data"][0]["id"]
    key = client.post(f"/v1/organization/projects/{project}/api_keys", json={"name": "o"}).json()["value"]
    owner = {"Authorization": f"Bearer {key}"}
    body = {"prompt": "a cat", "model": "acme/fast"}
    video = client.post("/v1/videos", json=body, headers=owner).json()
    assert ended(client, video["id"])["status"] == "completed"
    path = f"/v1/videos/{video['id']}/attempts"
    refused, made = client.get(path, headers=owner).json()["data"]
    assert [(each["upstream"], each["status"]) for each in (refused, made)] == [
        ("locked", "failed"),
        ("open", "completed"),
    ]
    assert refused["error"]["code"] == "provider_error"
    assert not any(word in str(refused) for word in ("401", "Incorrect", "handle", "credential"))
    assert made["submitted_at"] is not None
    assert (made["polls"][-1]["outcome"], refused["polls"]) == ("completed", [])
    assert "http_status" not in made["polls"][-1]
    told, done = client.get(path).json()["data"]
    assert (told["error"]["kind"], told["error"]["http_status"]) == ("provider_auth", 401)
    assert done["handle"]["id"].startswith("video_")
    assert client.get(path.replace(video["id"], "video_" + "0" * 32), headers=owner).status_code == 404
    locked = client.get("/v1/upstreams/locked").json()
    assert (locked["status"], locked["pause"]["reason"]) == ("paused", "provider_auth")
    assert 'onereel_upstream_paused{upstream="locked"} 1.0' in client.get("/metrics").text
    rotated = client.post("/v1/upstreams/locked/rotate", json={"api_key": "right"}).json()
    assert rotated["status"] == "active"
    for name in ("locked", "open"):
        client.delete(f"/v1/upstreams/{name}")


def test_checks_spend_nothing_and_tell_what_is_wrong(client: httpx.Client, fake: FakeUpstream):
    fake.reset()
    fake.config(api_key="right")
    added(client, fake, "wrong")
    added(client, fake, "right", api_key="right")
    found = {each["name"]: each for each in client.post("/v1/upstreams/check").json()["data"]}
    assert [found[name]["verdict"] for name in ("right", "wrong", "file")] == ["ok", "refused", "unreachable"]
    assert (found["right"]["usable"], found["wrong"]["usable"]) == (True, False)
    (one,) = client.post("/v1/upstreams/right/check").json()["data"]
    assert one["latency_ms"] >= 0
    assert fake.requests("POST") == []
    for name in ("wrong", "right"):
        client.delete(f"/v1/upstreams/{name}")
    fake.reset()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "a b", "base_url": "http://127.0.0.1:9", "models": [MODEL]}, "name"),
        ({"name": "file", "base_url": "http://127.0.0.1:9", "models": [MODEL]}, "name"),
        ({"name": "x", "models": [MODEL]}, "base_url"),
        ({"name": "x", "base_url": "ftp://127.0.0.1", "models": [MODEL]}, "base_url"),
        ({"name": "x", "base_url": "http://user:pw@127.0.0.1", "models": [MODEL]}, "base_url"),
        ({"name": "x", "base_url": "http://127.0.0.1?key=1", "models": [MODEL]}, "base_url"),
        ({"name": "x", "type": "google_vertex", "api_key": "k"}, "options"),
        ({"name": "x", "base_url": "http://127.0.0.1:9"}, "models"),
        ({"name": "x", "base_url": "http://127.0.0.1:9", "models": ["fast"]}, "models"),
        ({"name": "x", "type": "nobody"}, "type"),
        ({"name": "x", "base_url": "http://127.0.0.1:9", "models": [{"id": "m", "seconds": []}]}, None),
        ({"name": "x", "unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_field_is_named(client: httpx.Client, body: dict[str, Any], param: str | None):
    answer = client.post("/v1/upstreams", json=body)
    assert answer.status_code == 400, answer.text
    if param is not None:
        assert answer.json()["error"]["param"] == param


def test_only_the_operator_may(client: httpx.Client, gateway: Live):
    project = client.get("/v1/organization/projects").json()["data"][0]["id"]
    key = client.post(f"/v1/organization/projects/{project}/api_keys", json={"name": "k"}).json()["value"]
    headers = {"Authorization": f"Bearer {key}"}
    for method, path in (("GET", ""), ("POST", "/check"), ("DELETE", "/file"), ("POST", "/file/pause")):
        assert client.request(method, f"/v1/upstreams{path}", headers=headers).status_code == 403


def test_a_configured_upstream_can_be_paused_and_is_changed_elsewhere(client: httpx.Client):
    assert client.post("/v1/upstreams/file/pause").json()["pause"]["reason"] == "operator"
    assert client.post("/v1/upstreams/file/resume").json()["pause"] is None
    for method, path, body in (
        ("POST", "/v1/upstreams/file", {"priority": 1}),
        ("POST", "/v1/upstreams/file/rotate", {"api_key": "x"}),
        ("DELETE", "/v1/upstreams/file", None),
    ):
        answer = client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "upstream_not_found")


def test_a_change_that_its_adapter_refuses_changes_nothing(client: httpx.Client, fake: FakeUpstream):
    made = added(client, fake, "steady")
    answer = client.post("/v1/upstreams/steady", json={"options": {"submit_safety": "perhaps"}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "options")
    assert "key, lookup or none" in answer.json()["error"]["message"]
    assert client.get("/v1/upstreams/steady").json() == made
    assert client.delete("/v1/upstreams/steady").status_code == 200
