"""A running worker, asked over HTTP as the gateway's adapter asks it."""

import hashlib
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from local_backend.demo.judge import judge
from local_backend.demo.world import held_out
from tests.local_backend.conftest import MODEL, facts

STAGES = ["load", "encode", "denoise", "decode", "mux"]


def submit(
    worker: httpx.Client, path: str = "/videos", files: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    form = {
        name: (None, str(value)) for name, value in {"prompt": "a red fox", "model": MODEL, **fields}.items()
    }
    answer = worker.post(path, files={**form, **(files or {})})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def follow(worker: httpx.Client, video: dict[str, Any]) -> list[dict[str, Any]]:
    """Every state seen until it is terminal."""
    seen = [video]
    end = time.monotonic() + 60
    while seen[-1]["status"] not in {"completed", "failed"} and time.monotonic() < end:
        time.sleep(0.03)
        answer = worker.get(f"/videos/{video['id']}")
        seen.append(answer.json())
        if seen[-1]["status"] == "queued":
            assert answer.headers["openai-poll-after-ms"] == "250"
    return seen


def result(worker: httpx.Client, video: dict[str, Any], path: Path) -> Path:
    video = follow(worker, video)[-1]
    assert (video["status"], video["error"], video["progress"]) == ("completed", None, 100)
    assert video["expires_at"] > video["completed_at"] >= video["created_at"]
    assert 0 < Decimal(video["usage"]["gpu_seconds"]) < 60
    answer = worker.get(f"/videos/{video['id']}/content")
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == len(answer.content)
    path.write_bytes(answer.content)
    return path


def idle(worker: httpx.Client) -> bool:
    return bool(worker.get("../health").json()["status"] == "ready")


def test_text_to_video_with_progress_a_cancel_and_the_same_bytes_again(
    worker: httpx.Client, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"seed": 7, "seconds": "4", "size": "720x1280"}
    first = submit(worker, attempt_id="att_first", **fields)
    assert submit(worker, attempt_id="att_first", **fields)["id"] == first["id"]
    seen = follow(worker, first)
    progress = [video["progress"] for video in seen]
    assert progress == sorted(progress)
    assert len(set(progress)) > 4
    order = [STAGES.index(video["stage"]) for video in seen]
    assert order == sorted(order)
    first_file = result(worker, first, tmp_path / "first.mp4")
    assert facts(first_file) == (720, 1280, 24, 4)

    doomed = submit(worker, num_inference_steps=100)
    while worker.get(f"/videos/{doomed['id']}").json()["step"] < 2:
        time.sleep(0.02)
    assert worker.get(f"/videos/{doomed['id']}/content").json()["error"]["code"] == "video_not_ready"
    assert worker.delete(f"/videos/{doomed['id']}").json() == {
        "id": doomed["id"],
        "object": "video.deleted",
        "deleted": True,
    }
    assert worker.get(f"/videos/{doomed['id']}").status_code == 404
    end = time.monotonic() + 3
    while not idle(worker):
        assert time.monotonic() < end, "the cancelled video still runs"
        time.sleep(0.02)

    again = submit(worker, attempt_id="att_again", **fields)
    assert again["id"] != first["id"]
    again_file = result(worker, again, tmp_path / "again.mp4")
    assert (
        hashlib.sha256(again_file.read_bytes()).digest() == hashlib.sha256(first_file.read_bytes()).digest()
    )
    assert [video["id"] for video in worker.get("/videos").json()["data"]][:2] == [again["id"], first["id"]]


def test_image_to_video(worker: httpx.Client, tmp_path: Path, image: Path) -> None:
    video = submit(
        worker, files={"input_reference": image.open("rb")}, size="1280x720", num_inference_steps=2
    )
    assert facts(result(worker, video, tmp_path / "a.mp4")) == (1280, 720, 24, 4)


def test_an_edit_and_an_extension_of_an_uploaded_video(
    worker: httpx.Client, tmp_path: Path, clip: Path
) -> None:
    edit = submit(worker, "/videos/edits", {"video": clip.open("rb")}, num_inference_steps=4, strength=0.5)
    extension = submit(
        worker, "/videos/extensions", {"video": clip.open("rb")}, seconds="4", num_inference_steps=2
    )
    assert (edit["seconds"], edit["size"]) == ("2", "180x320")
    assert (extension["seconds"], extension["size"]) == ("6", "180x320")
    assert facts(result(worker, edit, tmp_path / "edit.mp4")) == (180, 320, 24, 2)
    assert facts(result(worker, extension, tmp_path / "joined.mp4")) == (180, 320, 12, 6)
    assert worker.get(f"/videos/{edit['id']}").json()["step"] == 2


def test_the_model_says_what_it_is(worker: httpx.Client) -> None:
    model, *others = worker.get("/models").json()["data"]
    assert model["id"] == MODEL
    assert [other["id"] for other in others] == ["onereel/demo", "local/wan2.2-5b"]
    assert model["state"] == "loaded"
    assert "random weights" in model["description"]
    assert model["sizes"] == ["720x1280", "1280x720", "1024x1792", "1792x1024"]
    assert (model["seconds"], model["native_size"]) == (["4"], "80x144")
    assert sorted(model["operations"]) == ["edit", "extend", "generate", "remix"]
    assert set(worker.get(f"/models/{MODEL}").json()["measured"]) >= {"load_seconds", "step_seconds"}
    assert worker.get("/models/onereel/other").status_code == 404


def test_the_model_asked_for_is_loaded_and_shows_what_the_prompt_says(
    worker: httpx.Client, tmp_path: Path
) -> None:
    scene = held_out()[0]
    video = submit(worker, model="onereel/demo", prompt=scene.caption, seed=1, seconds="4", size="720x1280")
    path = result(worker, video, tmp_path / "a.mp4")
    assert facts(path) == (720, 1280, 24, 4)
    with av.open(str(path)) as container:
        shown = [
            frame.reformat(width=90, height=160, format="rgb24").to_ndarray()
            for frame in container.decode(video=0)
        ]
    assert judge(np.stack(shown[::6]) / 255) == scene
    assert worker.get("/models/onereel/demo").json()["state"] == "loaded"


def test_a_model_whose_weights_are_not_there_is_offered_and_says_so(worker: httpx.Client) -> None:
    assert worker.get("/models/local/wan2.2-5b").json()["state"] == "missing"
    answer = worker.post("/videos", json={"model": "local/wan2.2-5b", "prompt": "a fox"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "model_not_found")
    assert "onereel models pull local/wan2.2-5b" in error["message"]


@pytest.mark.parametrize("headers", [{"authorization": ""}, {"authorization": "Bearer wrong"}])
def test_without_the_token_nothing_is_told(worker: httpx.Client, headers: dict[str, str]) -> None:
    answer = worker.get("/videos", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"size": "1x1"}, "size"),
        ({"seconds": "99"}, "seconds"),
        ({"seed": "lucky"}, "seed"),
        ({"model": "sora-2"}, "model"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_fields_are_a_400_in_the_envelope(
    worker: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    answer = worker.post("/videos", json={"prompt": "x", **fields})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_bad_bodies_and_files_are_refused(worker: httpx.Client, image: Path, clip: Path) -> None:
    def refused(path: str, **how: Any) -> tuple[int, str]:
        answer = worker.post(path, **how)
        return answer.status_code, answer.json()["error"]["code"]

    text = {"prompt": (None, "x")}
    js, form = {"content-type": "application/json"}, {"content-type": "multipart/form-data; boundary=b"}
    assert refused("/videos", content=b"{", headers=js) == (400, "invalid_json")
    assert refused("/videos", content=b"[]", headers=js) == (400, "invalid_json")
    assert refused("/videos", content=b"x" * 1_100_000, headers=js) == (413, "payload_too_large")
    assert refused("/videos", content=b"--b\r\nbroken", headers=form) == (400, "invalid_multipart")
    assert refused("/videos", content=b"x", headers={"content-type": "text/plain"}) == (
        415,
        "unsupported_media_type",
    )
    assert refused("/videos", files={**text, "input_reference": clip.open("rb")}) == (400, "input_media")
    assert refused("/videos", files={**text, "video": clip.open("rb")}) == (400, "unknown_parameter")
    assert refused("/videos/edits", files={**text, "video": image.open("rb")}) == (400, "input_media")
    assert refused("/videos/extensions", files=text) == (400, "missing_required_parameter")
    many = [("prompt", (None, "x")), ("prompt", (None, "y"))]
    assert refused("/videos", files=many) == (400, "invalid_value")
    assert worker.get("/nothing").json()["error"]["type"] == "invalid_request_error"
    assert worker.delete("/videos/video_0").json()["error"]["code"] == "video_not_found"
