"""The video routes over the whole application: contract, bad input, live events."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from litestar import Litestar
from sqlalchemy import create_engine, text

from gateway.app import create_app
from gateway.http import events
from gateway.http.video_schemas import Quote, Video, VideoList
from gateway.ids import new_id
from gateway.settings import Limits, Settings
from tests.gateway.asgi import asgi_client
from tests.gateway.live import migrated
from tests.gateway.media_files import make_image
from tests.gateway.videos.conftest import ACME

KEY = "sk-admin-0123456789abcdef0123456789abcdef"


@dataclass
class Site:
    """The application without job runner, and what lies behind it."""

    app: Litestar
    http: httpx.AsyncClient
    folder: Path

    def rows(self, table: str) -> int:
        engine = create_engine(f"sqlite:///{self.folder / 'onereel.db'}")
        with engine.connect() as conn:
            return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def write(self, statement: str) -> None:
        engine = create_engine(f"sqlite:///{self.folder / 'onereel.db'}")
        with engine.begin() as conn:
            conn.execute(text(statement))

    def leftovers(self) -> list[str]:
        folders = (self.folder / "uploads", self.folder / "storage")
        return [str(path) for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    settings = Settings(
        data_dir=tmp_path,
        upstreams=(ACME,),
        default_model="acme/fast",
        admin_key=KEY,
        roles=("api",),
        local={"enabled": False},
        log_level="ERROR",
        limits=Limits(image_pixels=1_000_000, image_bytes=200_000, json_bytes=400_000),
    )
    app = create_app(migrated(settings))
    async with (
        app.lifespan(),
        asgi_client(app, headers={"authorization": f"Bearer {KEY}"}) as http,
    ):
        yield Site(app, http, tmp_path)


async def test_the_same_video_by_json_and_by_form(site: Site):
    form = {"prompt": (None, "a\r\ncat"), "seconds": (None, "8"), "n": (None, "1")}
    for request in ({"json": {"prompt": "a\ncat", "seconds": 8, "n": 1}}, {"files": form}):
        answer = await site.http.post("/v1/videos", **request)
        assert answer.status_code == 200, answer.text
        video = Video.model_validate(answer.json(), strict=True)
        assert (video.prompt, video.seconds) == ("a\ncat", "8")
        assert answer.headers["openai-poll-after-ms"] == "2000"
        again = await site.http.get(f"/v1/videos/{video.id}")
        assert again.json() == answer.json()
        assert again.headers["openai-poll-after-ms"] == "2000"
        for each in (answer, again):
            assert each.headers["x-onereel-cost"] == "0.800000"
            assert each.headers["x-onereel-cost-status"] == "held"
    page = VideoList.model_validate((await site.http.get("/v1/videos?limit=1")).json(), strict=True)
    assert (len(page.data), page.has_more, page.last_id) == (1, True, page.data[0].id)


async def test_retries_and_keys_by_header(site: Site):
    body = {"prompt": "x"}
    first = (await site.http.post("/v1/videos", json=body)).json()
    retry = {"x-stainless-retry-count": "1"}
    form = {"prompt": (None, "x")}
    assert (await site.http.post("/v1/videos", files=form, headers=retry)).json()["id"] == first["id"]
    key = {"idempotency-key": "k"}
    made = (await site.http.post("/v1/videos", json=body, headers=key)).json()
    assert made["id"] != first["id"]
    assert (await site.http.post("/v1/videos", json=body, headers=key)).json() == made
    reused = await site.http.post("/v1/videos", json={"prompt": "y"}, headers=key)
    assert (reused.status_code, reused.json()["error"]["code"]) == (400, "idempotency_key_reused")
    for odd in ("-1", "x", "9" * 30, "²"):
        odd_retry = {b"x-stainless-retry-count": odd.encode()}
        assert (await site.http.post("/v1/videos", json=body, headers=odd_retry)).status_code == 200


async def test_quote_cancel_and_delete(site: Site):
    quoted = await site.http.post("/v1/videos/quote", json={"prompt": "x", "n": 2})
    quote = Quote.model_validate(quoted.json(), strict=True)
    assert quote.cost.amount == quote.hold.amount == quoted.headers["x-onereel-cost"] == "0.800000"
    assert quoted.headers["x-onereel-cost-status"] == "quoted"
    assert quote.routes[0].price is not None
    assert (quote.routes[0].price.amount, quote.routes[0].price.rule) == ("0.400000", "explicit")
    video_id = (await site.http.post("/v1/videos", json={"prompt": "x"})).json()["id"]
    cancelled = await site.http.post(f"/v1/videos/{video_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["id"]) == (200, video_id)
    gone = await site.http.request(
        "DELETE", f"/v1/videos/{video_id}", headers={"content-type": "application/json"}
    )
    assert gone.status_code == 200
    assert gone.json() == {"id": video_id, "object": "video.deleted", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/events")):
        missing = await site.http.request(method, f"/v1/videos/{video_id}{path}")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "video_not_found")


BIG = "data:image/png;base64," + base64.b64encode(b"x" * 210_000).decode()
P = {"prompt": "x"}

BAD_JSON: list[tuple[dict[str, Any], int, str | None]] = [
    ({}, 400, "prompt"),
    ({"prompt": None}, 400, "prompt"),
    ({"prompt": ""}, 400, "prompt"),
    ({"prompt": " \n"}, 400, "prompt"),
    ({"prompt": "x" * 32_001}, 400, "prompt"),
    ({"prompt": 7}, 400, "prompt"),
    ({"prompt": "nul\0"}, 400, "prompt"),
    ({**P, "promt": "typo"}, 400, "promt"),
    ({**P, "model": "nope"}, 404, "model"),
    ({**P, "model": "acme/gone"}, 404, "model"),
    ({**P, "model": 7}, 400, "model"),
    ({**P, "model": ""}, 400, "model"),
    ({**P, "seconds": "soon"}, 400, "seconds"),
    ({**P, "seconds": 5}, 400, "seconds"),
    ({**P, "seconds": 0}, 400, "seconds"),
    ({**P, "seconds": -4}, 400, "seconds"),
    ({**P, "seconds": True}, 400, "seconds"),
    ({**P, "seconds": [4]}, 400, "seconds"),
    ({**P, "size": "big"}, 400, "size"),
    ({**P, "size": "640x480"}, 400, "size"),
    ({**P, "size": 720}, 400, "size"),
    ({**P, "size": "1280x720", "aspect_ratio": "9:16"}, 400, "aspect_ratio"),
    ({**P, "aspect_ratio": "wide"}, 400, "aspect_ratio"),
    ({**P, "resolution": "4k"}, 400, "resolution"),
    ({**P, "seed": "x"}, 400, "seed"),
    ({**P, "seed": True}, 400, "seed"),
    ({**P, "seed": 2**32}, 400, "seed"),
    ({**P, "fps": 24}, 400, "fps"),
    ({**P, "audio": True}, 400, "audio"),
    ({**P, "audio": "perhaps"}, 400, "audio"),
    ({**P, "n": 0}, 400, "n"),
    ({**P, "n": 11}, 400, "n"),
    ({**P, "max_cost": "cheap"}, 400, "max_cost"),
    ({**P, "max_cost": -1}, 400, "max_cost"),
    ({**P, "max_cost": 0.01}, 400, "max_cost"),
    ({**P, "service_tier": "gold"}, 400, "service_tier"),
    ({**P, "metadata": {"a": 1}}, 400, "metadata"),
    ({**P, "metadata": {str(n): "" for n in range(17)}}, 400, "metadata"),
    ({**P, "webhook_url": "ftp://example.com"}, 400, "webhook_url"),
    ({**P, "webhook_url": "http://127.0.0.1:9/x"}, 400, "webhook_url"),
    ({**P, "webhook_url": "http://169.254.169.254/"}, 400, "webhook_url"),
    ({**P, "provider_options": "x"}, 400, "provider_options"),
    ({**P, "provider_options": {"x": "y" * 17_000}}, 400, "provider_options"),
    ({**P, "user": ""}, 400, "user"),
    ({**P, "fallbacks": ["nope"]}, 404, "fallbacks[0]"),
    ({**P, "fallbacks": "acme/full"}, 400, "fallbacks"),
    ({**P, "characters": [{"id": "x"}] * 3}, 400, "characters"),
    ({**P, "characters": ["x", {"name": "y"}]}, 400, "characters[1]"),
    ({**P, "input_reference": "cat.png"}, 400, "input_reference"),
    ({**P, "input_reference": {}}, 400, "input_reference"),
    ({**P, "input_reference": {"url": "x"}}, 400, "input_reference"),
    ({**P, "input_reference": {"image_url": "a", "file_id": "b"}}, 400, "input_reference"),
    ({**P, "input_reference": {"file_id": "file_0"}}, 404, "input_reference[file_id]"),
    ({**P, "input_reference": {"image_url": "file:///etc/passwd"}}, 400, "input_reference[image_url]"),
    ({**P, "input_reference": {"image_url": "http://localhost/a"}}, 400, "input_reference[image_url]"),
    ({**P, "input_reference": {"image_url": "http://10.0.0.1/a"}}, 400, "input_reference[image_url]"),
    ({**P, "input_reference": {"image_url": "data:,x"}}, 400, "input_reference[image_url]"),
    ({**P, "input_reference": {"image_url": "data:;base64,!!"}}, 400, "input_reference[image_url]"),
    (
        {**P, "input_reference": {"image_url": "data:image/png;base64,aGk="}},
        400,
        "input_reference[image_url]",
    ),
    ({**P, "input_reference": {"image_url": BIG}}, 413, "input_reference[image_url]"),
    ({**P, "last_frame": {"file_id": "x"}}, 400, "last_frame"),
    ({**P, "reference_images": []}, 400, "reference_images"),
    ({**P, "reference_images": [{"file_id": 3}]}, 400, "reference_images[0]"),
]


async def test_bad_bodies_are_refused_by_field_and_leave_nothing(site: Site):
    before = site.leftovers()
    for body, status, param in BAD_JSON:
        answer = await site.http.post("/v1/videos", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (status, param), (body, error)
        assert error["message"].endswith((".", "model.")), error
        assert set(error) == {"message", "type", "param", "code"}
        assert answer.headers["x-should-retry"] == "false"
    assert (site.rows("videos"), site.rows("jobs"), site.rows("ledger_entries")) == (0, 0, 0)
    assert site.leftovers() == before


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"prompt": "x"', 400),
        ("application/json", b"[1]", 400),
        ("application/json", b'{"prompt": "\xff"}', 400),
        ("application/json", b'{"prompt": "\\ud800"}', 400),
        ("application/json", b'{"provider_options": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
        ("application/json", b'{"prompt": "' + b"x" * 400_000 + b'"}', 413),
        ("text/plain", b"prompt=x", 400),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense", 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a[b][c][d][e][f][g]"\r\n\r\nx\r\n--b--', 400),
    ],
)  # fmt: skip
async def test_broken_bodies(site: Site, content_type: str, body: bytes, status: int):
    answer = await site.http.post("/v1/videos", content=body, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert site.rows("videos") == 0


async def test_files_that_are_not_what_they_claim(site: Site):
    before = site.leftovers()
    huge = make_image("PNG", (1200, 1000))
    for data, status in (
        (b"not an image", 400),
        (huge, 400),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 400),
        (b"x" * 200_001, 413),
    ):
        answer = await site.http.post(
            "/v1/videos", data=P, files={"input_reference": ("cat.png", data, "image/png")}
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, "input_reference"), (
            answer.text
        )
    several = [("input_reference", ("a.png", make_image("PNG")))] * 2
    assert (await site.http.post("/v1/videos", data=P, files=several)).status_code == 400
    fine = make_image("PNG")
    for path in ("edits", "extensions"):
        answer = await site.http.post(
            f"/v1/videos/{path}",
            data={**P, "seconds": "4"} if path == "extensions" else P,
            files={"video": ("a.mp4", fine)},
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "video"), answer.text
    assert site.rows("videos") == 0
    assert site.leftovers() == before


async def test_bad_sources_paths_and_methods(site: Site):
    missing = new_id("video")
    for path, body, status, param in (
        ("/v1/videos/edits", P, 400, "video"),
        ("/v1/videos/edits", {**P, "video": "video_1"}, 400, "video"),
        ("/v1/videos/edits", {**P, "video": {"id": missing}}, 404, "video[id]"),
        ("/v1/videos/edits", {**P, "video": {"id": missing}, "seconds": 4}, 400, "seconds"),
        ("/v1/videos/extensions", {**P, "video": {"id": missing}}, 400, "seconds"),
        ("/v1/videos/extensions", {**P, "video": {"file_id": "f"}, "seconds": "4"}, 404, "video[file_id]"),
        ("/v1/videos/characters", {"name": "x"}, 400, "video"),
        (f"/v1/videos/{missing}/remix", P, 404, "video_id"),
        (f"/v1/videos/{missing}/remix", {**P, "size": "1x1"}, 400, "size"),
        (f"/v1/videos/{missing}/cancel", {}, 404, "video_id"),
    ):
        answer = await site.http.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), (path, answer.text)
    for method, path, status in (
        ("GET", "/v1/videos/edits", 405),
        ("PUT", "/v1/videos", 405),
        ("GET", "/v1/video", 404),
        ("GET", "/v1/videos?limit=101", 400),
        ("GET", "/v1/videos?limit=x", 400),
        ("GET", "/v1/videos?order=up", 400),
        ("GET", "/v1/videos?after=x", 400),
        ("GET", "/v1/videos/%00", 400),
        ("GET", f"/v1/videos/characters/{new_id('char')}", 404),
    ):
        answer = await site.http.request(method, path)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["x-request-id"]
        assert answer.json()["error"]["message"]


@asynccontextmanager
async def served(app: Litestar) -> AsyncIterator[str]:
    """A real server: streams are only streams over a socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


def parsed(lines: list[str]) -> tuple[str, str, Any]:
    fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
    return fields["id"], fields["event"], json.loads(fields["data"])


async def test_events_follow_a_video_to_its_end(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "COMMENT_SECONDS", 0.1)
    video = (await site.http.post("/v1/videos", json=P)).json()
    path, auth = f"/v1/videos/{video['id']}/events", {"authorization": f"Bearer {KEY}"}
    async with (
        served(site.app) as url,
        httpx.AsyncClient(base_url=url, headers=auth, timeout=10) as http,
        http.stream("GET", path) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()

        async def block() -> list[str]:
            found: list[str] = []
            async for line in lines:
                if not line:
                    return found
                found.append(line)
            return found

        assert parsed(await block()) == ("1", "video.updated", video)
        assert await block() == [": waiting"]
        site.write("UPDATE videos SET state = 'running', progress = 40, version = 5")
        while not (seen := await block())[0].startswith("id"):
            pass
        version, name, body = parsed(seen)
        assert (version, name, body["status"], body["progress"]) == ("5", "video.updated", "in_progress", 40)
        site.write("UPDATE videos SET state = 'completed', progress = 100, version = 6")
        while not (seen := await block())[0].startswith("id"):
            pass
        assert parsed(seen)[:2] == ("6", "video.completed")
        assert await block() == []

        resumed = await http.get(path, headers={"last-event-id": "5"})
        assert parsed(resumed.text.strip().split("\n"))[:2] == ("6", "video.completed")
        assert (await http.get(path, headers={"last-event-id": "6"})).status_code == 204
        site.write("UPDATE videos SET state = 'failed', version = 7")
        assert "event: video.failed" in (await http.get(path, headers={"last-event-id": "x"})).text


async def test_events_end_when_the_video_is_deleted(site: Site):
    video_id = (await site.http.post("/v1/videos", json=P)).json()["id"]
    following = asyncio.create_task(site.http.get(f"/v1/videos/{video_id}/events"))
    await asyncio.sleep(0.2)
    await site.http.delete(f"/v1/videos/{video_id}")
    assert (await asyncio.wait_for(following, 5)).text.count("event:") == 1


async def test_events_end_when_the_key_is_revoked(site: Site):
    project = (await site.http.get("/v1/organization/projects")).json()["data"][0]["id"]
    keys = f"/v1/organization/projects/{project}/api_keys"
    key = (await site.http.post(keys, json={"name": "listener"})).json()
    video_id = (await site.http.post("/v1/videos", json=P)).json()["id"]
    auth = {"authorization": f"Bearer {key['value']}"}
    following = asyncio.create_task(site.http.get(f"/v1/videos/{video_id}/events", headers=auth))
    await asyncio.sleep(0.2)
    assert not following.done()
    await site.http.delete(f"{keys}/{key['id']}")
    assert (await asyncio.wait_for(following, 5)).text.count("event:") == 1
