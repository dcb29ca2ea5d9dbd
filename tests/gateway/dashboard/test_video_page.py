"""What one video's page shows live, shares, checks and repeats."""

import re
import sqlite3
import threading
import time
import tomllib
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from providers.testing import FakeUpstream
from tests.gateway.dashboard.test_videos import wait
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.gateway.media_files import make_image
from tests.server import MODEL, upstream_table

BODY = {"model": MODEL, "prompt": "a cat on a mat", "seconds": "4"}


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with FakeUpstream() as upstream:
        table = tomllib.loads(upstream_table(upstream.base_url, extra='roles = ["first_frame"]'))
        settings = settings_for(
            tmp_path_factory.mktemp("page"),
            **table,
            provenance={"c2pa": "all"},
            security={"allowed_private_hosts": [urlsplit(upstream.base_url).netloc]},
        )
        with visiting(settings) as visit:
            yield visit


@pytest.fixture(scope="module")
def video(visit: Visit) -> dict[str, Any]:
    return wait(visit.operator, visit.operator.post("/v1/videos", json=BODY).json()["id"])


def never(visit: Visit) -> str:
    body = {**BODY, "prompt": "waits [fault:never]"}
    return str(visit.operator.post("/v1/videos", json=body).json()["id"])


def follow(client: httpx.Client, video_id: str, heard: list[str], opened: threading.Event) -> None:
    with client.stream("GET", f"/videos/{video_id}/events", timeout=40) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            heard.append(line)
            opened.set()
    heard.append("ended")


def test_a_stream_tells_changes_until_the_end(visit: Visit, video: dict[str, Any]) -> None:
    with visit.client.stream("GET", f"/videos/{video['id']}/events") as stream:
        assert "event: video.completed" in "".join(stream.iter_text())
    path, again = f"/videos/{video['id']}/events", {"Last-Event-ID": "999"}
    assert visit.client.get(path, headers=again).status_code == 204


@pytest.mark.parametrize("leave", ["sign out", "removed"])
def test_a_stream_ends_with_its_session(visit: Visit, leave: str) -> None:
    member = visit.member("viewer", f"{leave.replace(' ', '')}@example.com")
    video_id, heard, opened = never(visit), list[str](), threading.Event()
    reader = threading.Thread(target=follow, args=(member.client, video_id, heard, opened))
    reader.start()
    assert opened.wait(10)
    if leave == "sign out":
        member.post("/logout")
    else:
        page = visit.page("/members")
        user = re.search(
            r"<tr>(?:(?!</tr>).)*removed@example\.com(?:(?!</tr>).)*/members/(user_\w+)", page, re.DOTALL
        )
        assert user
        visit.post(f"/members/{user[1]}/remove")
    began = time.monotonic()
    reader.join(20)
    assert not reader.is_alive()
    assert time.monotonic() - began < 8
    assert heard[-1] == "ended"
    assert "event: video.completed" not in heard
    visit.post(f"/videos/{video_id}/cancel")


def share(visit: Visit, video_id: str, **fields: str) -> str:
    answer = visit.post(f"/videos/{video_id}/share", {"lifetime": "1h", **fields}, status=200)
    found = re.search(r"(/shared/[\w-]+)", answer.text)
    assert found
    return found[1]


def test_a_public_link(visit: Visit, video: dict[str, Any]) -> None:
    hidden, told = share(visit, video["id"]), share(visit, video["id"], with_prompt="true")
    with httpx.Client(base_url=visit.live.base_url) as stranger:
        page = stranger.get(hidden)
        assert page.status_code == 200
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "noindex" in page.headers["x-robots-tag"]
        for secret in ("a cat on a mat", "$0.40", "acme", "owner@example.com", "proj_"):
            assert secret not in page.text, secret
        assert "a cat on a mat" in stranger.get(told).text
        content = stranger.get(f"{hidden}/content")
        assert (content.status_code, content.headers["content-type"]) == (200, "video/mp4")
        assert stranger.get(f"{hidden}/content", headers={"Range": "bytes=0-3"}).status_code == 206
        assert stranger.get(f"{hidden}/content?variant=thumbnail").status_code == 200
        assert stranger.get(f"{hidden}/content?variant=spritesheet").status_code == 400
        assert stranger.get("/shared/nothing").status_code == 404
        assert stranger.get("/shared/nothing/content").status_code == 404

        listed = visit.page(f"/videos/{video['id']}")
        links = re.findall(r"/links/(share_\w+)/revoke", listed)
        assert len(links) == 2
        for link in links:
            visit.post(f"/videos/{video['id']}/links/{link}/revoke", status=303)
        for path in (hidden, told, f"{hidden}/content"):
            assert stranger.get(path).status_code == 404
    audit = visit.operator.get("/v1/organization/audit_logs").json()["data"]
    assert {"share_link.created", "share_link.deleted"} <= {entry["type"] for entry in audit}
    assert not any(hidden.rpartition("/")[2] in str(entry) for entry in audit)


def test_a_link_ends_with_its_video(visit: Visit) -> None:
    made = wait(visit.operator, visit.operator.post("/v1/videos", json=BODY).json()["id"])
    path = share(visit, made["id"])
    visit.post(f"/videos/{made['id']}/share", {"lifetime": "9y"}, status=400)
    visit.post(f"/videos/{made['id']}/delete", status=303)
    with httpx.Client(base_url=visit.live.base_url) as stranger:
        assert stranger.get(path).status_code == 404
        assert stranger.get(f"{path}/content").status_code == 404


def test_what_is_not_kept_any_longer_is_said(visit: Visit) -> None:
    made = wait(visit.operator, visit.operator.post("/v1/videos", json=BODY).json()["id"])
    path = share(visit, made["id"])
    database = visit.live.settings.resolved_database_url.removeprefix("sqlite:///")
    with sqlite3.connect(database) as conn:
        conn.execute("UPDATE videos SET expires_at = 1 WHERE id = ?", (made["id"],))
    page = visit.page(f"/videos/{made['id']}")
    assert "The file is not kept any longer." in page
    assert "<video" not in page
    assert "data-dialog" not in page
    with httpx.Client(base_url=visit.live.base_url) as stranger:
        assert stranger.get(path).status_code == 404
        assert stranger.get(f"{path}/content").status_code == 404


def test_the_file_is_checked(visit: Visit, video: dict[str, Any]) -> None:
    assert "Signed by this gateway" in visit.page(f"/videos/{video['id']}")
    page = visit.page(f"/videos/{video['id']}?origin=true")
    assert ">trusted<" in page
    assert f"Made by the model {MODEL}." in page
    assert "trainedAlgorithmicMedia" in page
    assert "Time stamp" in page


def test_inputs_are_shown(visit: Visit) -> None:
    image = make_image("PNG", (1280, 720))
    files = {"input_reference": ("a.png", image, "image/png")}
    made = visit.operator.post("/v1/videos", data={**BODY, "size": "1280x720"}, files=files)
    assert made.status_code == 200, made.text
    video = wait(visit.operator, made.json()["id"])
    page = visit.page(f"/videos/{video['id']}")
    path = f"/videos/{video['id']}/inputs/0"
    assert f'src="{path}"' in page
    assert visit.client.get(path).content == image
    assert visit.client.get(f"/videos/{video['id']}/inputs/1").status_code == 404
    assert (
        "--form &#39;input_reference=@first_frame.png&#39;" in page
        or "input_reference=@first_frame.png" in unescape(page)
    )


def test_a_failed_video_says_what_to_do(visit: Visit) -> None:
    body = {**BODY, "prompt": "bad [fault:moderation]"}
    made = wait(visit.operator, visit.operator.post("/v1/videos", json=body).json()["id"])
    page = visit.page(f"/videos/{made['id']}")
    assert "moderation blocked" in page
    assert "Say it in other words" in page
    assert '<svg class="timeline"' in page


def test_deliveries_are_told_and_repeated(visit: Visit) -> None:
    body = {**BODY, "webhook_url": f"{visit.live.settings.upstreams[0].base_url}/nowhere"}
    made = wait(visit.operator, visit.operator.post("/v1/videos", json=body).json()["id"])
    deadline = time.monotonic() + 20
    while "404" not in (page := visit.page(f"/videos/{made['id']}")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    path = re.search(r"/videos/video_\w+/deliveries/default/\w+", page)
    assert path
    visit.post(path[0], status=303)
    other = visit.operator.post("/v1/videos", json=BODY).json()["id"]
    visit.post(path[0].replace(made["id"], other), status=404)
