"""The whole gateway on a real socket: the SDK gets a video, every bad request a clear refusal and nothing stays."""

import io
import json
import re
import sqlite3
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from providers.testing import FakeUpstream
from tests.gateway.live import ADMIN_KEY, Live, live, settings_for

MODEL = {"id": "acme/fast", "price_per_second_usd": "0.10", "released": "2026-02-01"}
LIMITS = {"json_bytes": 100_000, "image_bytes": 50_000, "video_bytes": 100_000, "image_pixels": 2_000_000}


def upstream(base_url: str, **model: Any) -> dict[str, Any]:
    return {"name": "acme", "base_url": base_url, "models": [{**MODEL, **model}]}


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("gateway")
    with live(settings_for(folder, upstreams=[upstream(fake.base_url)], limits=LIMITS)) as running:
        yield running


@pytest.fixture
def client(gateway: Live) -> Iterator[httpx.Client]:
    with gateway.client() as opened:
        yield opened


def refusal(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


def sdk(gateway: Live) -> openai.OpenAI:
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    return openai.OpenAI(
        base_url=f"{gateway.base_url}/v1", api_key=ADMIN_KEY, _strict_response_validation=True, max_retries=0
    )


def made_through_the_sdk(gateway: Live) -> None:
    client = sdk(gateway)
    video = client.videos.create(prompt="a cat", model="acme/fast", seconds="4", size="1280x720")
    assert video.status == "queued"
    video = client.videos.poll(video.id, poll_interval_ms=100)
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


def test_a_video_through_the_sdk(gateway):
    made_through_the_sdk(gateway)


def test_a_video_through_the_sdk_on_postgresql(fake, postgres_url, tmp_path):
    with live(
        settings_for(tmp_path, database_url=postgres_url, upstreams=[upstream(fake.base_url)])
    ) as gateway:
        made_through_the_sdk(gateway)


def test_models_with_slashes_and_aliases(gateway):
    client = sdk(gateway)
    listed = client.models.list().data
    assert [model.id for model in listed] == ["acme/fast"]
    for name in ("acme/fast", "sora-2"):
        model = client.models.retrieve(name)
        assert (model.id, model.owned_by, model.created) == ("acme/fast", "acme", 1769904000)
    extra: Any = listed[0].model_extra
    (price,) = extra["prices"]
    assert (price["upstream"], price["unit"], price["usd"]) == ("acme", "output_second", "0.10")
    assert price["source"] == "price_per_second_usd in the configuration"
    assert date.fromisoformat(price["as_of"])
    assert "sora-2" in extra["aliases"]
    assert extra["capabilities"]["sizes"][0] == "720x1280"
    with pytest.raises(openai.NotFoundError, match="acme/fast"):
        client.models.retrieve("acme/slow")


GOOD: dict[str, Any] = {"prompt": "a cat"}
BAD_FIELDS: list[tuple[dict[str, Any], int, str | None]] = [
    ({}, 400, "prompt"),
    ({"prompt": ""}, 400, "prompt"),
    ({"prompt": "x" * 32_001}, 400, "prompt"),
    ({"prompt": 7}, 400, "prompt"),
    ({"prompt": None}, 400, "prompt"),
    ({**GOOD, "model": "no/such"}, 404, "model"),
    ({**GOOD, "model": 1}, 400, "model"),
    ({**GOOD, "size": "10x10"}, 400, "size"),
    ({**GOOD, "size": "big"}, 400, "size"),
    ({**GOOD, "seconds": "5"}, 400, "seconds"),
    ({**GOOD, "seconds": "soon"}, 400, "seconds"),
    ({**GOOD, "seconds": True}, 400, "seconds"),
    ({**GOOD, "seed": "x"}, 400, "seed"),
    ({**GOOD, "n": 11}, 400, "n"),
    ({**GOOD, "fps": 24}, 400, "fps"),
    ({**GOOD, "no_such_field": 1}, 400, "no_such_field"),
    ({**GOOD, "input_reference": "a text"}, 400, "input_reference"),
    ({**GOOD, "input_reference": {"file_id": "file_" + "0" * 32}}, 404, None),
    ({**GOOD, "input_reference": {"image_url": "ftp://example.com/a.png"}}, 400, None),
    ({**GOOD, "input_reference": {"image_url": "http://127.0.0.1/a.png"}}, 400, None),
    ({**GOOD, "input_reference": {"image_url": "http://[::1]/a.png"}}, 400, None),
    ({**GOOD, "input_reference": {"image_url": "file:///etc/passwd"}}, 400, None),
    ({**GOOD, "input_reference": {"image_url": "data:image/png;base64,AAAA"}}, 400, None),
    ({**GOOD, "input_reference": {"path": "/etc/passwd"}}, 400, "input_reference"),
]


@pytest.mark.parametrize(("fields", "status", "param"), BAD_FIELDS)
def test_bad_field(client, gateway, fields, status, param):
    error = refusal(client.post("/v1/videos", json=fields), status)
    assert (error["param"] or "").split("[")[0] == (param or "input_reference")
    assert_nothing_stays(gateway)


BAD_FILES = {
    "no image": b"plain text",
    "cut off": png(64, 64)[:60],
    "too many pixels": png(2000, 1001),
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(client, gateway, name):
    files = {"input_reference": ("a.png", BAD_FILES[name], "image/png")}
    error = refusal(client.post("/v1/videos", data=GOOD, files=files))
    assert error["param"] == "input_reference"
    assert_nothing_stays(gateway)


def test_a_text_that_claims_to_be_a_video(client, gateway):
    files = {"video": ("a.mp4", b"\0\0\0\x18ftypmp42" + b"x" * 100, "video/mp4")}
    refusal(client.post("/v1/videos/edits", data={**GOOD, "model": "acme/fast"}, files=files))
    refusal(client.post("/v1/videos/characters", data={"name": "Cat"}, files=files))
    assert_nothing_stays(gateway)


def test_bodies_over_the_limit(client, gateway):
    files = {"input_reference": ("a.png", b"x" * 50_001, "image/png")}
    assert refusal(client.post("/v1/videos", data=GOOD, files=files), 413)["param"] == "input_reference"
    refusal(client.post("/v1/videos", json={"prompt": "x" * 100_000}), 413)
    assert_nothing_stays(gateway)


BAD_BODIES: list[tuple[bytes, str, str]] = [
    (b"{", "application/json", "invalid_json"),
    (b'{"prompt": "a",}', "application/json", "invalid_json"),
    (b"[]", "application/json", "invalid_json"),
    (b'{"a":' * 60 + b"1" + b"}" * 60, "application/json", "too_deep"),
    (b"prompt=a", "application/x-www-form-urlencoded", "unsupported_content_type"),
    (b"a cat", "text/plain", "unsupported_content_type"),
    (b"x", "multipart/form-data", "missing_boundary"),
    (b"x", "multipart/form-data; boundary=b", "invalid_multipart"),
]


@pytest.mark.parametrize(("content", "content_type", "code"), BAD_BODIES)
def test_bad_body(client, gateway, content, content_type, code):
    for path in ("/v1/videos", "/v1/videos/quote", "/v1/videos/edits", "/v1/videos/extensions"):
        answer = client.post(path, content=content, headers={"content-type": content_type})
        assert refusal(answer)["code"] == code
    assert_nothing_stays(gateway)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({f"metadata[k{n}]": "v" for n in range(300)}, "too_many_fields"),
        ({"a[b][c][d][e][f][g]": "1"}, "too_deep"),
        ({"a[b": "1"}, "invalid_field_name"),
        ({"metadata": "x", "metadata[a]": "y"}, "duplicate_field"),
    ],
)
def test_bad_brackets(client, gateway, fields, code):
    form = {name: (None, value) for name, value in {**GOOD, **fields}.items()}
    assert refusal(client.post("/v1/videos", files=form))["code"] == code
    assert_nothing_stays(gateway)


UNKNOWN = "0" * 32
OPEN = ("/health", "/metrics", "/v1/callbacks/", "/v1/inputs/", "/v1/billing/stripe/webhook")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/videos/video_{UNKNOWN}"),
        ("GET", "/v1/videos/x"),
        ("GET", "/v1/videos/a%2Fb"),
        ("DELETE", f"/v1/videos/video_{UNKNOWN}"),
        ("GET", f"/v1/videos/video_{UNKNOWN}/content"),
        ("GET", f"/v1/videos/video_{UNKNOWN}/events"),
        ("POST", f"/v1/videos/video_{UNKNOWN}/cancel"),
        ("GET", f"/v1/videos/characters/char_{UNKNOWN}"),
        ("GET", f"/v1/files/file_{UNKNOWN}"),
        ("DELETE", f"/v1/files/file_{UNKNOWN}"),
        ("GET", f"/v1/webhook_endpoints/we_{UNKNOWN}"),
        ("GET", f"/v1/organization/projects/proj_{UNKNOWN}"),
        ("GET", "/v1/nowhere"),
        ("GET", "/docs/api/nothing.js"),
        ("POST", "/v1/videos/x/y/z"),
    ],
)
def test_unknown_ids_and_paths(client, method, path):
    refusal(client.request(method, path), 404)


def test_a_nul_in_the_url(client):
    answer = client.get("/v1/videos/%00")
    refusal(answer, 400 if answer.status_code == 400 else 404)


def test_unknown_source_video(client):
    fields = {"prompt": "a", "video": {"id": f"video_{UNKNOWN}"}, "seconds": "4"}
    refusal(client.post("/v1/videos/extensions", json=fields), 404)
    refusal(client.post(f"/v1/videos/video_{UNKNOWN}/remix", json=GOOD), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/videos"), ("PATCH", "/v1/models"), ("GET", "/v1/videos/edits"), ("POST", "/docs")],
)
def test_wrong_method(client, method, path):
    answer = client.request(method, path)
    if (method, path) == ("GET", "/v1/videos/edits"):  # a literal of the same level as {video_id}
        assert answer.status_code in {404, 405}
        return
    refusal(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic x", "Bearer"])
def test_without_a_key_nothing_is_told(gateway, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    with httpx.Client(base_url=gateway.base_url, headers=headers) as stranger:
        for path in ("/v1/videos", "/v1/models", "/v1/files", "/v1/organization/projects"):
            assert refusal(stranger.get(path), 401)["code"] == "invalid_api_key"


def test_options_needs_a_key_too(client, gateway):
    for path in ("/v1/videos", "/v1/organizations", f"/v1/webhook_endpoints/we_{UNKNOWN}"):
        assert client.options(path).status_code == 204
        refusal(httpx.options(f"{gateway.base_url}{path}"), 401)


def assert_nothing_stays(gateway: Live) -> None:
    folder = gateway.settings.data_dir
    assert list((folder / "uploads").iterdir()) == []
    with sqlite3.connect(folder / "onereel.db") as db:
        tables = ("videos WHERE deleted_at IS NULL", "files", "characters", "idempotency_records")
        counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    db.close()
    assert counts == [0, 0, 0, 0]
    assert [path for path in (folder / "storage").rglob("inputs/*/*") if path.is_file()] == []


def test_health_and_metrics(client, gateway):
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"status": "ok"}
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    names = set(re.findall(r"^# TYPE (\S+)", metrics.text, re.MULTILINE))
    assert names >= {
        "onereel_http_requests_total",
        "onereel_http_request_seconds",
        "onereel_jobs",
        "onereel_queue_age_seconds",
        "onereel_upstream_requests_total",
        "onereel_upstream_seconds",
        "onereel_storage_bytes",
        "onereel_unknown_upstream_state_total",
        "onereel_outbox_pending",
        "onereel_meter_events_total",
        "onereel_meter_events_pending",
        "onereel_meter_events_age_seconds",
    }
    proxied = client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})
    assert refusal(proxied, 403)["code"] == "metrics_not_allowed"


def test_metrics_token_works_from_anywhere(fake, tmp_path):
    settings = settings_for(tmp_path, upstreams=[upstream(fake.base_url)], metrics={"token": "scrape"})
    with live(settings) as gateway, gateway.client() as client:
        far = {"x-forwarded-for": "203.0.113.9"}
        assert client.get("/metrics", headers={**far, "authorization": "Bearer scrape"}).status_code == 200
        assert client.get("/metrics", headers={**far, "authorization": "Bearer wrong"}).status_code == 403
        assert client.get("/metrics").status_code == 200


def test_not_ready_without_any_model(tmp_path):
    with live(settings_for(tmp_path)) as gateway, gateway.client() as client:
        error = refusal(client.get("/health/ready"), 503)
        assert error["code"] == "not_ready"
        assert "no model" in error["message"]
        assert client.get("/health/live").status_code == 200


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


@pytest.mark.parametrize(
    ("path", "version"), [("/openapi.json", "3.1.0"), ("/docs/api/openapi.json", "3.0.3")]
)
def test_description_is_whole(client, path, version):
    document = client.get(path).json()
    assert document["openapi"] == version
    for reference in references(document):
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    operations = {(p, m): o for p, item in document["paths"].items() for m, o in item.items()}
    for (route, method), operation in operations.items():
        assert "default" in operation["responses"], (route, method)
        assert operation.get("security") == ([] if route.startswith(OPEN) else None)
    for route in ("/v1/videos", "/v1/videos/edits", "/v1/videos/extensions", "/v1/videos/{video_id}/remix"):
        assert set(operations[route, "post"]["requestBody"]["content"]) == {
            "application/json",
            "multipart/form-data",
        }
    form = operations["/v1/videos", "post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert "binary" in json.dumps(form["properties"]["input_reference"])
    assert "binary" not in json.dumps(document["components"]["schemas"]["CreateBody"])


def test_reference_pages_load_nothing_from_elsewhere(client):
    page = client.get("/docs/api")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe-inline" not in page.headers["content-security-policy"].split("style-src")[0]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 5
    for link in links:
        assert link.startswith("/docs")
        assert client.get(link).status_code == 200
    assert "<script>" not in page.text
    assert client.get("/docs/api/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/docs/api/..%2f..%2fetc%2fpasswd").status_code == 404


def test_the_admin_key_is_shown_once(fake, tmp_path, capfd):
    settings = settings_for(tmp_path, upstreams=[upstream(fake.base_url)]).model_copy(
        update={"admin_key": None}
    )
    with live(settings) as gateway:
        shown = re.search(r"Admin API key.*\n\| (\S+)", capfd.readouterr().err)
        assert shown is not None
        key = {"Authorization": f"Bearer {shown[1]}"}
        assert httpx.get(f"{gateway.base_url}/v1/models", headers=key).status_code == 200
    with live(settings) as gateway:
        assert "Admin API key" not in capfd.readouterr().err
        assert httpx.get(f"{gateway.base_url}/v1/models", headers=key).status_code == 200
    assert not list(Path(tmp_path / "uploads").iterdir())


def test_the_workers_model_is_offered_before_there_is_a_worker(tmp_path):
    local = {"enabled": True, "python": str(tmp_path / "no-such-python")}
    with live(settings_for(tmp_path, local=local)) as gateway, gateway.client() as client:
        assert client.get("/health/ready").status_code == 200
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["onereel/demo"]
        assert client.post("/v1/videos", json=GOOD).json()["status"] == "queued"
