"""The gallery, one video's page and its actions, for people of every role and for strangers."""

import re
import time
import tomllib
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

from providers.testing import FakeUpstream
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.server import MODEL, upstream_table

ENDED = ("completed", "failed")


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> Iterator[Visit]:
    table = tomllib.loads(upstream_table(upstream.base_url))
    with visiting(settings_for(tmp_path_factory.mktemp("videos"), **table)) as visit:
        yield visit


@pytest.fixture(scope="module")
def viewer(visit: Visit) -> Visit:
    return visit.member("viewer")


@pytest.fixture(scope="module")
def developer(visit: Visit) -> Visit:
    return visit.member("developer")


@pytest.fixture(scope="module")
def foreigner(visit: Visit) -> Visit:
    """Somebody of the same organization who looks at another project."""
    made = visit.operator.post("/v1/organization/projects", json={"name": "Elsewhere"}).json()
    other = visit.member("admin", "elsewhere@example.com")
    other.post("/switch", {"project_id": made["id"]})
    return other


def make(visit: Visit, prompt: str = "a cat on a mat", **fields: Any) -> dict[str, Any]:
    client = visit.operator
    body = {"model": MODEL, "prompt": prompt, "seconds": "4", **fields}
    video: dict[str, Any] = client.post("/v1/videos", json=body).json()
    return wait(client, video["id"])


def wait(client: httpx.Client, video_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (video := client.get(f"/v1/videos/{video_id}").json())["status"] not in ENDED:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(video)


@pytest.fixture(scope="module")
def video(visit: Visit) -> dict[str, Any]:
    return make(visit, metadata={"shot": "12"})


def test_the_gallery_finds_videos(visit: Visit, video: dict[str, Any]) -> None:
    other = make(visit, "a dog <b>runs</b>")
    page = visit.page("/videos")
    assert f"/videos/{video['id']}" in page
    assert "a dog &lt;b&gt;runs&lt;/b&gt;" in page
    assert page.index(other["id"]) < page.index(video["id"])
    assert video["id"] not in visit.page("/videos?q=RUN")
    assert other["id"] in visit.page("/videos?q=RUN")
    assert "Nothing found" in visit.page("/videos?q=zebra")
    assert "Nothing found" in visit.page("/videos?status=failed&from=2026-01-01&to=2030-01-01")
    assert video["id"] in visit.page(f"/videos?status=completed&model={MODEL}")
    assert visit.client.get("/videos?status=odd").status_code == 400
    assert visit.client.get("/videos?from=odd").status_code == 400
    assert visit.client.get("/videos?after=odd").status_code == 200


def test_pages_of_the_gallery_are_links(visit: Visit) -> None:
    body = {"model": MODEL, "prompt": "one of many", "seconds": "4", "n": 10}
    for _ in range(3):
        assert visit.operator.post("/v1/videos", json=body).status_code == 200
    first = visit.page("/videos?q=many")
    assert len(re.findall(r'class="card tile"', first)) == 24
    older = re.search(r'href="(/videos\?[^"]*after=[^"]*)"', first)
    assert older
    second = visit.page(unescape(older[1]))
    assert len(re.findall(r'class="card tile"', second)) == 6
    assert "after=" not in second


@pytest.mark.parametrize("role", ["admin", "developer", "viewer"])
def test_every_role_that_may_see_videos_sees_the_gallery(
    visit: Visit, role: str, video: dict[str, Any]
) -> None:
    member = visit.member(role, f"{role}-of-gallery@example.com")
    assert video["id"] in member.page("/videos?q=mat")
    assert "a cat on a mat" in member.page(f"/videos/{video['id']}")


def test_files_come_with_the_session(visit: Visit, video: dict[str, Any]) -> None:
    path = f"/videos/{video['id']}/content"
    whole = visit.client.get(path)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    part = visit.client.get(path, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, whole.content[:10])
    still = visit.client.get(f"{path}?variant=thumbnail")
    assert still.headers["content-type"] == "image/webp"
    assert still.headers["cache-control"] == "private, max-age=300"
    assert whole.headers["cache-control"] == "private"
    again = {"If-None-Match": still.headers["etag"]}
    assert visit.client.get(f"{path}?variant=thumbnail", headers=again).status_code == 304
    assert visit.client.get(f"{path}?variant=spritesheet").headers["content-type"] == "image/jpeg"
    assert visit.client.get(f"{path}?variant=secret").status_code == 400
    with httpx.Client(base_url=visit.live.base_url) as stranger:
        assert stranger.get(path).status_code == 303


def test_one_page_tells_all_of_a_video(visit: Visit, video: dict[str, Any]) -> None:
    page = visit.page(f"/videos/{video['id']}")
    for told in (
        "a cat on a mat",
        MODEL,
        "12",
        "acme",
        "Held when it was accepted",
        "Charged",
        "curl",
        "$0.40",
    ):
        assert told in page, told
    assert f"/playground?from={video['id']}" in page
    assert "ONEREEL_API_KEY" in page
    assert visit.live.base_url in page


def test_a_viewer_sees_and_changes_nothing(viewer: Visit, video: dict[str, Any]) -> None:
    page = viewer.page(f"/videos/{video['id']}")
    assert "Money" not in page
    for action in ("cancel", "delete", "remix", "extend", "edit", "share"):
        assert f"/videos/{video['id']}/{action}" not in page
        viewer.post(f"/videos/{video['id']}/{action}", {"prompt": "a"}, status=403)
    viewer.post(f"/videos/{video['id']}/links/share_1/revoke", status=403)
    viewer.post(f"/videos/{video['id']}/deliveries/default/whd_1", status=403)


def test_another_project_finds_nothing(foreigner: Visit, video: dict[str, Any]) -> None:
    path = f"/videos/{video['id']}"
    assert video["id"] not in foreigner.page("/videos")
    for each in (path, f"{path}/content", f"{path}/content?variant=thumbnail", f"{path}/events"):
        assert foreigner.client.get(each).status_code == 404, each
    fields = {"prompt": "a", "seconds": "4", "lifetime": "1h"}
    for action in ("cancel", "delete", "remix", "extend", "edit", "share"):
        foreigner.post(f"{path}/{action}", fields, status=404)
    foreigner.post(f"{path}/links/share_1/revoke", status=404)
    foreigner.post(f"{path}/deliveries/default/whd_1", status=404)


def test_what_follows_a_video(developer: Visit, visit: Visit, video: dict[str, Any]) -> None:
    path = f"/videos/{video['id']}"
    for action, fields in (
        ("remix", {"prompt": "at night"}),
        ("edit", {"prompt": "in snow"}),
        ("extend", {"prompt": "it runs off", "seconds": "4"}),
    ):
        answer = developer.post(f"{path}/{action}", fields, status=303)
        made = wait(visit.operator, answer.headers["location"].rpartition("/")[2])
        assert made["operation"] == action
        assert path in developer.page(f"/videos/{made['id']}")
    refused = developer.post(f"{path}/extend", {"prompt": "on", "seconds": "odd"}, status=400)
    assert refused.json()["error"]["param"] == "seconds"
    refused = developer.post(f"{path}/remix", {}, status=400)
    assert refused.json()["error"]["param"] == "prompt"


def test_cancel_and_delete(developer: Visit, visit: Visit) -> None:
    upstream.script(["hang"]) if hasattr(upstream, "script") else None
    made = visit.operator.post(
        "/v1/videos", json={"model": MODEL, "prompt": "to be gone", "seconds": "4"}
    ).json()
    developer.post(f"/videos/{made['id']}/cancel", status=303)
    assert wait(visit.operator, made["id"])["error"]["code"] == "cancelled"
    page = developer.page(f"/videos/{made['id']}")
    assert "You were charged nothing." in page
    assert "Make it again whenever you like." in page
    developer.post(f"/videos/{made['id']}/delete", status=303)
    developer.page(f"/videos/{made['id']}", status=404)
