"""The fake is only worth something if it does what it says."""

import io
import subprocess
import sys
from fractions import Fraction
from typing import Any

import av
import httpx
import pytest

from providers.testing import FakeUpstream
from providers.testing_jobs import FAULTS, Config, faults_in
from providers.testing_media import facts, mp4, own_bytes


@pytest.fixture
def api(fake: FakeUpstream) -> httpx.Client:
    return httpx.Client(base_url=fake.base_url, trust_env=False)


def created(api: httpx.Client, path: str = "/videos", **fields: Any) -> dict[str, Any]:
    answer = api.post(path, json={"prompt": "a fox", **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("size", "seconds"),
    [("720x1280", "4"), ("1280x720", "12"), ("1792x1024", "8"), ("64x48", "2.5"), ("320x240", "0.1")],
)
def test_the_file_is_as_large_and_as_long_as_asked(api: httpx.Client, size: str, seconds: str) -> None:
    video = created(api, size=size, seconds=seconds)
    assert (video["size"], video["seconds"]) == (size, seconds)
    data = api.get(f"/videos/{video['id']}/content").content
    width, height, length = facts(data)
    assert (f"{width}x{height}", length) == (size, Fraction(seconds))


def test_files_decode_to_the_end_and_differ_per_job(api: httpx.Client) -> None:
    files = [api.get(f"/videos/{created(api)['id']}/content").content for _ in range(2)]
    assert files[0] != files[1]
    with av.open(io.BytesIO(files[0])) as container:
        frames = [frame.key_frame for frame in container.decode(video=0)]
    assert len(frames) == 8


def test_files_are_padded_to_size() -> None:
    base = mp4(64, 64, Fraction(1))
    padded = own_bytes(base, "video_1", 200_000)
    assert len(padded) == 200_000
    assert facts(padded) == (64, 64, Fraction(1))


def test_an_extension_is_joined(api: httpx.Client) -> None:
    source = created(api, seconds="4", size="320x240")
    data = api.get(f"/videos/{source['id']}/content").content
    by_id = created(api, "/videos/extensions", seconds="8", video={"id": source["id"]})
    form = {"prompt": "on", "seconds": "8"}
    by_file = api.post("/videos/extensions", data=form, files={"video": data}).json()
    for video in (by_id, by_file):
        assert (video["seconds"], video["size"]) == ("12", "320x240")
        assert facts(api.get(f"/videos/{video['id']}/content").content) == (320, 240, Fraction(12))


def test_remix_and_edit_keep_the_source_and_its_length(api: httpx.Client) -> None:
    source = created(api, seconds="8", size="320x240")
    remix = created(api, f"/videos/{source['id']}/remix")
    edit = created(api, "/videos/edits", video={"id": source["id"]})
    for video in (remix, edit):
        assert (video["remixed_from_video_id"], video["seconds"]) == (source["id"], "8")
    assert api.post("/videos/video_none/remix", json={"prompt": "x"}).status_code == 400
    files = {"video": b"no video"}
    assert api.post("/videos/edits", data={"prompt": "x"}, files=files).status_code == 400


def test_characters(api: httpx.Client) -> None:
    files = {"video": mp4(64, 64, Fraction(1))}
    made = api.post("/videos/characters", data={"name": "Mia"}, files=files).json()
    assert api.get(f"/videos/characters/{made['id']}").json() == made
    assert api.post("/videos/characters", data={"name": "Mia"}).status_code == 400


def test_list_pages(api: httpx.Client) -> None:
    ids = [created(api)["id"] for _ in range(5)]
    first = api.get("/videos", params={"limit": 2}).json()
    assert [v["id"] for v in first["data"]] == ids[:2:-1]
    assert first["has_more"]
    rest = api.get("/videos", params={"limit": 3, "after": first["last_id"]}).json()
    assert [v["id"] for v in rest["data"]] == ids[2::-1]
    assert not rest["has_more"]
    assert [v["id"] for v in api.get("/videos", params={"order": "asc"}).json()["data"]] == ids


def test_variants(api: httpx.Client) -> None:
    path = f"/videos/{created(api)['id']}/content"
    kinds = [
        api.get(path, params={"variant": v}).headers["content-type"] for v in ("thumbnail", "spritesheet")
    ]
    assert kinds == ["image/webp", "image/jpeg"]


def test_progress_and_deletion(api: httpx.Client, fake: FakeUpstream) -> None:
    fake.config(run_seconds=[30, 30])
    video = created(api)
    seen = api.get(f"/videos/{video['id']}").json()
    assert (seen["status"], seen["completed_at"]) == ("queued", None)
    assert api.get(f"/videos/{video['id']}/content").status_code == 400
    assert fake.stats()["live"] == 1
    assert api.delete(f"/videos/{video['id']}").json()["deleted"]
    assert api.get(f"/videos/{video['id']}").status_code == 404
    assert fake.stats()["live"] == 0
    assert fake.stats()["max_live"] == 1


def test_idempotency_only_when_switched_on(api: httpx.Client, fake: FakeUpstream) -> None:
    def twice(key: str) -> int:
        answers = [api.post("/videos", json={"prompt": "x"}, headers={"Idempotency-Key": key}) for _ in "ab"]
        return len({answer.json()["id"] for answer in answers})

    assert twice("one") == 2
    assert fake.stats()["doubles"] == {"one": 2}
    fake.config(idempotency=True)
    assert twice("two") == 1
    assert fake.stats()["creates"] == {"one": 2, "two": 1}


def test_ordered_faults_strike_the_next_requests(api: httpx.Client, fake: FakeUpstream) -> None:
    fake.fault("html_502", 2)
    statuses = [api.post("/videos", json={"prompt": "x"}).status_code for _ in range(3)]
    assert statuses == [502, 502, 200]


def test_tokens() -> None:
    assert faults_in("a [fault:never] b [fault:html_502:3] [fault:nonsense]") == {"never": 0, "html_502": 3}
    assert {stage for stage, _ in FAULTS.values()} == {"refuse", "answer", "poll", "job", "content"}
    with pytest.raises(TypeError):
        Config().updated({"nonsense": 1})


def test_a_wrong_configuration_is_told(fake: FakeUpstream) -> None:
    with pytest.raises(RuntimeError, match="HTTP 500"):
        fake.config(nonsense=1)


def test_it_ends_with_its_parent() -> None:
    command = [sys.executable, "-m", "providers.testing", "--exit-with-stdin"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert b"port" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
