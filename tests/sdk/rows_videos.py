"""Rows of videos.*, each run to completed with its bytes."""

import asyncio
import base64
import time
from functools import partial
from pathlib import Path
from typing import Any

import openai

from tests.sdk.rows import Scenario, check, equal, refused, row, sha256


@row("videos.create (prompt only)", "videos.create")
def create_prompt_only(s: Scenario) -> None:
    prompt = s.prompt("prompt only")
    video = s.client.videos.create(prompt=prompt)
    check(video.id.startswith("video_") and video.status in ("queued", "in_progress"), f"answered {video}")
    check(video._request_id, "no x-request-id")
    equal((video.seconds, video.size), ("4", "720x1280"), "defaults")
    equal(video.model_extra.get("prompt", getattr(video, "prompt", None)), prompt, "prompt")
    s.finish(video, size="720x1280")
    s.expect("/v1/videos", prompt, model="fast-1", seconds="4", size="720x1280")


@row("videos.create (every field)", "videos.create")
def create_every_field(s: Scenario) -> None:
    prompt = s.prompt("every field,\nsecond line")
    video = s.client.videos.create(
        prompt=prompt,
        model=s.model,
        seconds="8",
        size="1280x720",
        extra_body={"seed": 42, "metadata": {"shot": "7"}, "max_cost": "0.80"},
    )
    equal(video.model, s.model, "model")
    equal(video.model_extra["metadata"], {"shot": "7"}, "metadata")
    s.finish(video, seconds="8")
    s.expect("/v1/videos", prompt, model="fast-1", seconds="8", size="1280x720", seed="42")


def create_with(s: Scenario, what: str, **image: Any) -> None:
    prompt = s.prompt(what)
    s.finish(s.client.videos.create(prompt=prompt, model=s.model, seconds="4", size="1280x720", **image))
    s.expect("/v1/videos", prompt, files={"input_reference": sha256(s.png.read_bytes())}, seconds="4")


@row("videos.create (file)", "videos.create")
def create_file(s: Scenario) -> None:
    create_with(s, "bytes", input_reference=s.png.read_bytes())


@row("videos.create (streamed file)", "videos.create")
def create_streamed_file(s: Scenario) -> None:
    with s.png.open("rb") as stream:
        create_with(s, "stream", input_reference=stream)


@row("videos.create (image_url)", "videos.create")
def create_image_url(s: Scenario) -> None:
    url = "data:image/png;base64," + base64.b64encode(s.png.read_bytes()).decode()
    create_with(s, "image_url", extra_body={"input_reference": {"image_url": url}})


@row("videos.create (file_id)", "videos.create")
def create_file_id(s: Scenario) -> None:
    create_with(s, "file_id", extra_body={"input_reference": {"file_id": s.file.id}})


@row("videos.create_character")
def create_character(s: Scenario) -> None:
    check(s.character.id.startswith("char_"), f"answered {s.character}")
    equal(s.character.name, "Rosa", "name")
    check(abs(s.character.created_at - time.time()) < 60, "created_at is not now")


@row("videos.get_character")
def get_character(s: Scenario) -> None:
    found = s.client.videos.get_character(s.character.id)
    equal(found.to_dict(), s.character.to_dict(), "character")


@row("videos.create (character)", "videos.create_character")
def create_with_character(s: Scenario) -> None:
    prompt = s.prompt("Rosa dances")
    body = {"characters": [{"id": s.character.id}]}
    video = s.client.videos.create(
        prompt=prompt, model=s.model, seconds="4", size="1280x720", extra_body=body
    )
    s.finish(video)
    files = {"characters[][video]": sha256(s.clip.read_bytes())}
    s.expect("/v1/videos", prompt, files=files, **{"characters[][name]": "Rosa"})


@row("videos.create_and_poll")
def create_and_poll(s: Scenario) -> None:
    prompt = s.prompt("create_and_poll")
    video = s.client.videos.create_and_poll(prompt=prompt, model=s.model, seconds="4", size="1280x720")
    s.made.append(video.id)
    s.completed(video)
    s.expect("/v1/videos", prompt, seconds="4", size="1280x720")


@row("videos.poll")
def poll(s: Scenario) -> None:
    prompt = s.prompt("poll")
    video = s.client.videos.create(prompt=prompt, model=s.model, seconds="12", size="1280x720")
    s.made.append(video.id)
    s.completed(s.client.videos.poll(video.id, poll_interval_ms=200), seconds="12")
    s.expect("/v1/videos", prompt, seconds="12", size="1280x720")


@row("videos (async client)", "videos.create_and_poll")
def async_client(s: Scenario) -> None:
    prompt = s.prompt("async")

    async def run() -> tuple[Any, bytes]:
        async with openai.AsyncOpenAI(
            base_url=s.orders["api"], api_key=s.orders["key"], _strict_response_validation=True
        ) as client:
            video = await client.videos.create_and_poll(
                prompt=prompt, model=s.model, seconds="4", size="1280x720"
            )
            content = await client.videos.download_content(video.id)
            return video, await content.aread()

    video, content = asyncio.run(run())
    s.made.append(video.id)
    equal(content, s.completed(video), "content")
    s.expect("/v1/videos", prompt, seconds="4", size="1280x720")


@row("videos.retrieve")
def retrieve(s: Scenario) -> None:
    base, _ = s.base
    raw = s.client.videos.with_raw_response.retrieve(base.id)
    check(raw.headers["x-request-id"], "no x-request-id")
    video = raw.parse()
    equal(video, base, "video")
    equal(video.remixed_from_video_id, None, "remixed_from_video_id")


def download(s: Scenario, variant: str, media_type: str) -> bytes:
    base, _ = s.base
    answer = s.client.videos.download_content(base.id, variant=variant)
    content: bytes = answer.read()
    equal(answer.response.headers["content-type"], media_type, "content-type")
    equal(len(content), int(answer.response.headers["content-length"]), "length of the content")
    return content


@row("videos.download_content (video)", "videos.download_content")
def download_video(s: Scenario) -> None:
    equal(download(s, "video", "video/mp4"), s.base[1], "content")


@row("videos.download_content (thumbnail)", "videos.download_content")
def download_thumbnail(s: Scenario) -> None:
    content = download(s, "thumbnail", "image/webp")
    equal((content[:4], content[8:12]), (b"RIFF", b"WEBP"), "magic bytes")


@row("videos.download_content (spritesheet)", "videos.download_content")
def download_spritesheet(s: Scenario) -> None:
    equal(download(s, "spritesheet", "image/jpeg")[:3], b"\xff\xd8\xff", "magic bytes")


@row("videos.download_content (streamed)", "videos.download_content")
def download_streamed(s: Scenario) -> None:
    base, content = s.base
    path = Path(s.orders["out"]) / "streamed.mp4"
    with s.client.videos.with_streaming_response.download_content(base.id) as answer:
        answer.stream_to_file(path)
    equal(path.read_bytes(), content, "content")
    path.unlink()


@row("videos.remix")
def remix(s: Scenario) -> None:
    base, content = s.base
    prompt = s.prompt("remix")
    video = s.client.videos.remix(base.id, prompt=prompt)
    equal(video.remixed_from_video_id, base.id, "remixed_from_video_id")
    s.finish(video)
    equal(s.client.videos.retrieve(video.id).remixed_from_video_id, base.id, "remixed_from_video_id")
    s.expect("/v1/videos/edits", prompt, files={"video": sha256(content)}, size="1280x720")


def by_id(s: Scenario) -> dict[str, Any]:
    """How a Python user names a video: the client refuses an object as `video`."""
    return {"video": openai.omit, "extra_body": {"video": {"id": s.base[0].id}}}


@row("videos.edit (file)", "videos.edit")
def edit_file(s: Scenario) -> None:
    prompt = s.prompt("edit file")
    s.finish(s.client.videos.edit(prompt=prompt, video=s.clip))
    s.expect("/v1/videos/edits", prompt, files={"video": sha256(s.clip.read_bytes())}, size="1280x720")


@row("videos.edit (id)", "videos.edit")
def edit_id(s: Scenario) -> None:
    prompt = s.prompt("edit id")
    s.finish(s.client.videos.edit(prompt=prompt, **by_id(s)))
    s.expect("/v1/videos/edits", prompt, files={"video": sha256(s.base[1])}, size="1280x720")


@row("videos.extend (file)", "videos.extend")
def extend_file(s: Scenario) -> None:
    prompt = s.prompt("extend file")
    video = s.client.videos.extend(prompt=prompt, seconds="8", video=s.clip)
    equal(video.seconds, "12", "stitched seconds")
    s.finish(video, seconds="12")
    files = {"video": sha256(s.clip.read_bytes())}
    s.expect("/v1/videos/extensions", prompt, files=files, seconds="8")


@row("videos.extend (id)", "videos.extend")
def extend_id(s: Scenario) -> None:
    prompt = s.prompt("extend id")
    video = s.client.videos.extend(prompt=prompt, seconds="4", **by_id(s))
    equal(video.seconds, "8", "stitched seconds")
    s.finish(video, seconds="8")
    s.expect("/v1/videos/extensions", prompt, files={"video": sha256(s.base[1])}, seconds="4")


@row("videos.list")
def list_videos(s: Scenario) -> None:
    while len(s.made) < 5:
        s.made.append(s.client.videos.create(prompt=s.prompt("one of many"), model=s.model).id)
    page = s.client.videos.list(limit=2)
    equal((len(page.data), page.has_more), (2, True), "the first page")
    found = [video.id for video in s.client.videos.list(limit=2)]
    equal(sorted(found), sorted(s.made), "all videos")
    equal([video.id for video in s.client.videos.list(limit=3, order="asc")], found[::-1], "ascending")
    after = s.client.videos.list(after=found[0], limit=1)
    equal([video.id for video in after.data], found[1:2], "after")


@row("videos.delete")
def delete(s: Scenario) -> None:
    video = s.client.videos.create(prompt=s.prompt("delete"), model=s.model, seconds="4", size="1280x720")
    s.finish(video)
    answer = s.client.videos.delete(video.id)
    equal((answer.id, answer.object, answer.deleted), (video.id, "video.deleted", True), "answer")
    s.made.remove(video.id)
    for gone in (s.client.videos.retrieve, s.client.videos.download_content, s.client.videos.delete):
        refused(openai.NotFoundError, "video_not_found", partial(gone, video.id))


@row("videos (a failed job)", "videos.create")
def failed_job(s: Scenario) -> None:
    video = s.client.videos.create(prompt=s.prompt("[fault:moderation] failed"), model=s.model)
    s.made.append(video.id)
    deadline = time.monotonic() + 30
    while video.status in ("queued", "in_progress") and time.monotonic() < deadline:
        time.sleep(0.1)
        video = s.client.videos.retrieve(video.id)
    equal((video.status, video.error and video.error.code), ("failed", "moderation_blocked"), "the end")
    check(video.error.message, "no message")
    equal(video.model_extra["cost"]["status"], "released", "cost.status")
    refused(openai.BadRequestError, None, lambda: s.client.videos.download_content(video.id))
