"""Remix, edit, extend and characters: what they work on, and what they leave to the upstream."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import BadRequest, NotFound
from gateway.ids import new_id
from gateway.jobs.tables import jobs
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from tests.gateway.videos.conftest import World


async def request_of(world: World, video_id: str) -> StoredRequest:
    return StoredRequest.model_validate((await world.row(video_id)).request)


async def done(world: World, **fields: object) -> str:
    video = await world.create({"seconds": 8, "size": "1280x720", **fields})
    await world.complete(video["id"], size="1280x720", duration_ms=8041)
    return str(video["id"])


async def remix(world: World, source: str, **fields: Any) -> dict[str, Any]:
    body = {"prompt": "again", **fields}
    return await world.service.remix(world.call(body), source, body)


async def edit(world: World, **fields: Any) -> dict[str, Any]:
    body = {"prompt": "in winter", **fields}
    return await world.service.edit(world.call(body), body)


async def extend(world: World, **fields: Any) -> dict[str, Any]:
    body = {"prompt": "and then", **fields}
    return await world.service.extend(world.call(body), body)


async def test_remix_sends_our_bytes_to_the_sources_model(world: World):
    source = await done(world)
    video = await remix(world, source)
    assert video["remixed_from_video_id"] == source
    assert (video["model"], video["seconds"], video["size"]) == ("acme/fast", "8", "1280x720")
    assert (video["operation"], video["cost"]["amount"]) == ("remix", "0.800000")
    request = await request_of(world, video["id"])
    (media,) = request.media
    assert (media.role, media.storage_key) == ("source", f"videos/{source}/content.mp4")
    assert (media.media_type, media.size, request.pinned_attempt_id) == ("video/mp4", 4, None)


async def test_edit_keeps_length_and_size_and_is_no_remix(world: World):
    source = await done(world)
    video = await edit(world, video={"id": source}, model="acme/full")
    assert (video["operation"], video["remixed_from_video_id"]) == ("edit", None)
    assert (video["model"], video["seconds"], video["size"]) == ("acme/full", "8", "1280x720")


async def test_an_extension_bills_what_it_adds_and_shows_the_total(world: World):
    source = await done(world)
    video = await extend(world, video={"id": source}, seconds="4")
    assert (video["seconds"], video["cost"]["amount"]) == ("12", "0.400000")
    request = await request_of(world, video["id"])
    assert request.seconds == Decimal(4)
    assert request.media[0].role == "extend_from"
    with pytest.raises(BadRequest) as refused:
        await extend(world, video={"id": source}, seconds=7)
    assert (refused.value.param, refused.value.code) == ("seconds", "unsupported_value")


async def test_a_model_that_needs_its_handle_is_pinned_to_the_attempt(world: World):
    video = await world.create({"model": "acme/own"})
    attempt_id = await world.complete(video["id"])
    for made in (
        await remix(world, video["id"]),
        await edit(world, video={"id": video["id"]}),
        await extend(world, video={"id": video["id"]}, seconds=4),
    ):
        request = await request_of(world, made["id"])
        assert (request.pinned_attempt_id, request.media) == (attempt_id, [])
    stranger = await done(world)
    with pytest.raises(BadRequest) as refused:
        await remix(world, stranger, model="acme/own", prompt="x" * 101)
    assert refused.value.param == "prompt"


async def test_a_model_that_needs_its_handle_takes_nobody_elses_video(world: World, mp4: bytes):
    with pytest.raises(BadRequest) as refused:
        await edit(world, video=world.upload(mp4), model="acme/own")
    assert refused.value.code == "source_not_supported"
    other = await world.create()
    await world.complete(other["id"], upstream="elsewhere")
    with pytest.raises(BadRequest):
        await remix(world, other["id"], model="acme/own")


async def test_uploaded_videos_and_files_are_sources_too(world: World, mp4: bytes):
    video = await edit(world, video=world.upload(mp4))
    assert (video["seconds"], video["size"], video["model"]) == ("2", "320x180", "acme/fast")
    request = await request_of(world, video["id"])
    assert request.media[0].storage_key == f"inputs/{video['id']}/0"
    file_id = await world.add_file(mp4, "video/mp4", width=320, height=180, duration_ms=2000)
    longer = await extend(world, video={"file_id": file_id}, seconds=8)
    assert longer["seconds"] == "10"
    assert await world.stored("inputs/") == sorted(f"inputs/{each['id']}/0" for each in (video, longer))


async def test_sources_must_be_there_ours_and_completed(world: World):
    running = await world.create()
    with pytest.raises(BadRequest) as early:
        await remix(world, running["id"])
    assert (early.value.code, early.value.param) == ("video_not_ready", "video_id")
    for missing in (new_id("video"), "nonsense", "\0"):
        with pytest.raises(NotFound):
            await remix(world, missing)
    with pytest.raises(NotFound) as unknown:
        await edit(world, video={"id": new_id("video")})
    assert (unknown.value.code, unknown.value.param) == ("video_not_found", "video[id]")
    source = await done(world)
    body = {"prompt": "x"}
    with pytest.raises(NotFound):
        await world.service.remix(world.call(body, project_id="proj_other"), source, body)
    await world.complete(running["id"], content_key=None)
    with pytest.raises(BadRequest) as expired:
        await remix(world, running["id"])
    assert expired.value.code == "video_expired"
    assert len(await world.rows(videos)) == 2


async def test_text_models_say_who_can(world: World):
    source = await done(world)
    with pytest.raises(BadRequest) as refused:
        await remix(world, source, model="acme/text")
    assert refused.value.param == "model"
    assert "acme/fast" in refused.value.message
    too_long = await world.create()
    await world.complete(too_long["id"], seconds="598")
    with pytest.raises(BadRequest) as long:
        await extend(world, video={"id": too_long["id"]}, seconds=4)
    assert long.value.code == "video_too_long"


async def test_delete_keeps_a_sources_bytes_until_its_dependants_are_done(world: World):
    source = await done(world)
    video = await remix(world, source)
    await world.service.delete(world.principal, source)
    with pytest.raises(NotFound):
        await world.service.retrieve(world.principal, source)
    row = await world.row(source)
    assert (row.prompt, row.content_key) == (None, f"videos/{source}/content.mp4")
    assert row.expires_at <= world.clock.now_ms() + 1000
    assert await world.stored(f"videos/{source}")
    with pytest.raises(NotFound):
        await remix(world, source)
    await world.complete(video["id"])
    again = await remix(world, video["id"])
    await world.complete(again["id"])
    await world.service.delete(world.principal, video["id"])
    assert not await world.stored(f"videos/{video['id']}")
    assert (await world.row(video["id"])).content_key is None


async def test_characters(world: World, mp4: bytes, png: bytes):
    body = {"name": "Ada", "video": world.upload(mp4)}
    made = await world.service.create_character(world.principal, body)
    assert (made["object"], made["name"]) == ("character", "Ada")
    assert await world.service.retrieve_character(world.principal, made["id"]) == made
    video = await world.create(
        {
            "model": "acme/full",
            "characters": [{"id": made["id"]}],
            "last_frame": world.upload(png),
            "reference_images": [world.upload(png), world.upload(png)],
        }
    )
    request = await request_of(world, video["id"])
    assert [media.role for media in request.media] == ["last_frame", "reference", "reference", "character"]
    assert request.media[3].name == "Ada"
    assert len(await world.stored(f"inputs/{video['id']}")) == 4
    assert video["warnings"][1] == "last_frame is 64x48, the video 720x1280: the image is adapted to fit."


async def test_characters_are_refused_clearly(world: World, mp4: bytes, png: bytes):
    for body, param in (
        ({"video": world.upload(mp4)}, "name"),
        ({"name": "Ada"}, "video"),
        ({"name": "A" * 81, "video": world.upload(mp4)}, "name"),
        ({"name": "Ada", "video": "text"}, "video"),
        ({"name": "Ada", "video": world.upload(png)}, "video"),
        ({"name": "Ada", "video": world.upload(b"nothing")}, "video"),
    ):
        with pytest.raises(BadRequest) as refused:
            await world.service.create_character(world.principal, body)
        assert refused.value.param == param
    assert not await world.character_ids()
    assert not await world.stored("characters/")
    for missing in (new_id("char"), "\0"):
        with pytest.raises(NotFound):
            await world.service.retrieve_character(world.principal, missing)
    with pytest.raises(NotFound) as unknown:
        await world.create({"model": "acme/full", "characters": [{"id": new_id("char")}]})
    assert unknown.value.param == "characters[0][id]"
    with pytest.raises(BadRequest) as unable:
        await world.create({"characters": [{"id": new_id("char")}]})
    assert "acme/full" in unable.value.message


async def test_first_frames_come_as_file_data_url_file_id_or_url(world: World, png: bytes):
    import base64

    file_id = await world.add_file(png, "image/png", width=64, height=48)
    data_url = "data:image/png;base64," + base64.b64encode(png).decode()
    for reference in (world.upload(png), {"image_url": data_url}, {"file_id": file_id}):
        video = await world.create({"input_reference": reference})
        request = await request_of(world, video["id"])
        (media,) = request.media
        assert (media.role, media.media_type, media.size) == ("first_frame", "image/png", len(png))
        assert media.storage_key == f"inputs/{video['id']}/0"
        assert await read(world.storage.stream(media.storage_key)) == png
        assert "64x48" in video["warnings"][0]
    assert not list((world.folder / "uploads").iterdir())
    video = await world.create({"first_frame": {"image_url": "https://example.com/a.png"}})
    assert (await world.row(video["id"])).state == "preparing"
    assert video["status"] == "queued"
    assert (await request_of(world, video["id"])).media[0].url == "https://example.com/a.png"
    states = [row.state for row in await world.rows(jobs)]
    assert sorted(states) == ["preparing", "queued", "queued", "queued"]


async def test_every_video_of_a_group_has_inputs_of_its_own(world: World, png: bytes):
    video = await world.create({"n": 2, "input_reference": world.upload(png)})
    assert await world.stored("inputs/") == sorted(f"inputs/{each}/0" for each in video["group"])


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])
