"""One video is one trace, whoever works on it; and tracing that is off, or broken, is in nobody's way."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.crypto import new_key
from gateway.settings import Tracing
from gateway.tracing import OFF, carried, open_tracing, span
from providers.testing import FakeUpstream
from tests.gateway.live import live, settings_for
from tests.gateway.observability.collector import Collector, collector

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, CLIENTS_SPAN = CLIENT.split("-")[1:3]
PROMPT = "a secret lighthouse"
MODEL = "acme/fast"


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as it:
        yield it


def upstream(base_url: str, **changes: Any) -> dict[str, Any]:
    model = {"id": MODEL, "upstream_model": "fast-1", "price_per_second_usd": "0.10"}
    return {"name": "acme", "base_url": base_url, "api_key": "sk-upstream", "models": [model], **changes}


def create(client: httpx.Client, **fields: Any) -> httpx.Response:
    answer = client.post(
        "/v1/videos", json={"prompt": PROMPT, "model": MODEL, **fields}, headers={"traceparent": CLIENT}
    )
    assert answer.status_code == 200, answer.text
    return answer


def until(client: httpx.Client, video_id: str, status: str) -> None:
    deadline = time.monotonic() + 30
    while client.get(f"/v1/videos/{video_id}").json()["status"] != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_video_is_one_trace_over_two_processes(collected: Collector, tmp_path: Path) -> None:
    with FakeUpstream(poll_after_ms=50, run_seconds=(1.5, 1.5)) as fake, FakeUpstream() as receiver:
        settings = settings_for(
            tmp_path,
            tracing={"endpoint": collected.endpoint, "headers": "X-Tenant=a%20b"},
            upstreams=[upstream(fake.base_url)],
            security={"allowed_private_hosts": [f"127.0.0.1:{receiver.port}"]},
        )
        with live(settings) as first, first.client() as client:
            answer = create(client, webhook_url=f"http://127.0.0.1:{receiver.port}/v1/hook")
            video_id = answer.json()["id"]
            until(client, video_id, "in_progress")
        begun = {each.name for each in collected.spans}
        assert "settle" not in begun
        with live(settings) as second, second.client() as client:
            until(client, video_id, "completed")
            while not receiver.requests():
                time.sleep(0.05)
        asked = fake.requests()
    ours = [each for each in collected.spans if each.trace == TRACE]
    by_name = {each.name: each for each in ours}
    request = by_name["POST /v1/videos"]
    assert request.parent == CLIENTS_SPAN
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["onereel.video_id"] == video_id
    assert request.attributes["onereel.request_id"] == answer.headers["x-request-id"]
    for name in ("accept", "submit", "poll", "store", "webhook"):
        assert by_name[name].parent == request.id, name
    assert by_name["settle"].parent == by_name["store"].id
    assert by_name["upstream submit"].parent == by_name["submit"].id
    assert by_name["upstream content"].parent == by_name["store"].id
    submit = by_name["submit"].attributes
    assert (submit["onereel.model"], submit["onereel.upstream"]) == (MODEL, "acme")
    assert (submit["onereel.attempt"], submit["onereel.outcome"]) == (1, "accepted")
    assert by_name["store"].attributes["onereel.outcome"] == "completed"
    assert by_name["webhook"].attributes["onereel.tries"] == 1
    assert {each.service for each in ours} == {"onereel"}
    # the reads of the client began traces of their own, and nothing is in two
    assert {each.name for each in collected.spans if each.trace != TRACE} == {"GET /v1/videos/{video_id}"}
    assert (collected.headers["path"], collected.headers["x-tenant"]) == ("/v1/traces", "a b")
    assert not any(secret.encode() in body for body in collected.bodies for secret in (PROMPT, "sk-"))
    assert not any("traceparent" in each["headers"] for each in asked)


def test_one_trace_where_another_process_does_the_job(
    collected: Collector, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")  # each tells at its end
    with FakeUpstream(poll_after_ms=50) as fake:
        common = {
            "database_url": postgres_url,
            "storage_url": f"file://{tmp_path / 'storage'}",
            "security": {"encryption_keys": [new_key()]},
            "upstreams": [upstream(fake.base_url)],
            "tracing": {"endpoint": collected.endpoint},
        }
        api = settings_for(tmp_path / "api", roles=("api",), **common)
        jobs = settings_for(tmp_path / "jobs", roles=("jobs",), **common)
        with live(api) as front, front.client() as client:
            video_id = create(client).json()["id"]
            with live(jobs):
                until(client, video_id, "completed")
            of_jobs = {each.name for each in collected.spans}
    assert {"submit", "store", "settle"} <= of_jobs
    assert "POST /v1/videos" not in of_jobs  # not sent yet: those were the other's
    ours = {each.name: each for each in collected.spans if each.trace == TRACE}
    assert ours["submit"].parent == ours["store"].parent == ours["POST /v1/videos"].id
    assert ours["settle"].parent == ours["store"].id
    assert ours["settle"].attributes["onereel.video_id"] == video_id


def test_an_upstream_is_told_the_trace_where_that_is_wanted(collected: Collector, tmp_path: Path) -> None:
    with FakeUpstream(poll_after_ms=50) as fake:
        settings = settings_for(
            tmp_path,
            tracing={"endpoint": collected.endpoint},
            upstreams=[upstream(fake.base_url, traces=True)],
        )
        with live(settings) as gateway, gateway.client() as client:
            until(client, create(client).json()["id"], "completed")
        sent = [each["headers"]["traceparent"].split("-")[1:3] for each in fake.requests()]
    calls = {each.id for each in collected.spans if each.name.startswith("upstream ")}
    assert {trace for trace, _ in sent} == {TRACE}
    assert {parent for _, parent in sent} == calls


def test_a_collector_that_refuses_harms_nobody(collected: Collector, tmp_path: Path) -> None:
    collected.status = 503
    with FakeUpstream(poll_after_ms=50) as fake:
        settings = settings_for(
            tmp_path, tracing={"endpoint": collected.endpoint}, upstreams=[upstream(fake.base_url)]
        )
        with live(settings) as gateway, gateway.client() as client:
            until(client, create(client).json()["id"], "completed")
            began = time.monotonic()
    assert time.monotonic() - began < 15
    assert collected.bodies == []


def test_a_ratio_of_zero_keeps_nothing_whatever_the_client_says(collected: Collector) -> None:
    counted: list[str] = []
    tracing = open_tracing(
        Tracing(endpoint=collected.endpoint, sample_ratio=0), lambda outcome, _: counted.append(outcome)
    )
    with tracing.request(CLIENT) as request:
        assert request.traceparent is not None
        assert request.traceparent.startswith(f"00-{TRACE}-")
        assert request.traceparent.endswith("-00")
        assert carried() == request.traceparent
    assert carried() is None
    assert counted == []


@pytest.mark.parametrize(
    "text",
    ["", "00-abc", CLIENT.upper(), f"{CLIENT}-x", CLIENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
     f"ff{CLIENT[2:]}", CLIENT.replace("b7ad6b7169203331", "0" * 16)],
)  # fmt: skip
def test_what_is_no_trace_context_begins_a_trace(collected: Collector, text: str) -> None:
    tracing = open_tracing(Tracing(endpoint=collected.endpoint), lambda *_: None)
    with tracing.request(text) as request:
        assert request.trace_id not in {None, TRACE}
    with tracing.resumed(text, "submit") as step:
        assert step.trace_id is None
    with tracing.resumed(f"01{CLIENT[2:]}-more", "submit") as step:  # a later version
        assert step.trace_id == TRACE


def test_without_an_endpoint_no_sdk_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom gateway.app import create_app\n"
        "from gateway.settings import Settings\n"
        f"create_app(Settings(data_dir=Path({str(tmp_path)!r})))\n"
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert open_tracing(Tracing(), lambda *_: None) is OFF
    with OFF.request(CLIENT), span("accept"):
        assert carried() is None
