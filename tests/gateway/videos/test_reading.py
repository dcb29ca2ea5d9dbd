"""Lists, cancel, delete: only one's own, only what is not deleted."""

import pytest
from sqlalchemy import update

from gateway.errors import BadRequest, NotFound
from gateway.ids import new_id
from gateway.jobs.tables import jobs
from gateway.videos.tables import videos
from tests.gateway.videos.conftest import World, new_principal


async def test_pages_in_both_orders(world: World):
    ids = [(await world.create())["id"] for _ in range(5)]
    service, principal = world.service, world.principal

    data, more = await service.list(principal, limit=2)
    assert ([each["id"] for each in data], more) == (ids[:2:-1], True)
    data, more = await service.list(principal, limit=3, after=ids[3])
    assert ([each["id"] for each in data], more) == (ids[2::-1], False)
    data, more = await service.list(principal, limit=10, after=ids[1], descending=False)
    assert ([each["id"] for each in data], more) == (ids[2:], False)
    data, more = await service.list(principal, limit=0)
    assert (data, more) == ([], True)
    assert await service.list(new_principal()) == ([], False)
    await service.delete(principal, ids[4])
    data, _ = await service.list(principal, limit=1, after=ids[4])
    assert data[0]["id"] == ids[3]
    with pytest.raises(BadRequest) as refused:
        await service.list(principal, after="nonsense")
    assert refused.value.param == "after"


async def test_groups_in_lists(world: World):
    first = await world.create({"n": 2})
    single = await world.create()
    data, _ = await world.service.list(world.principal)
    assert [each.get("group") for each in data] == [None, first["group"], first["group"]]
    assert data[0] == single


async def test_foreign_and_unknown_ids_are_404(world: World):
    video = await world.create()
    service, stranger = world.service, new_principal()
    for principal, video_id in (
        (stranger, video["id"]),
        (world.principal, new_id("video")),
        (world.principal, "video_\0"),
        (world.principal, "x" * 5000),
    ):
        for action in (service.retrieve, service.cancel, service.delete, service.retrieve_versioned):
            with pytest.raises(NotFound) as refused:
                await action(principal, video_id)
            assert refused.value.code == "video_not_found"
    assert not (await world.row(video["id"])).cancel_requested


async def test_cancel_wakes_a_parked_job_and_leaves_ended_videos_alone(world: World):
    video = await world.create()
    parked = update(jobs).values(due=None, parked_for="upstream:acme")
    await world.db.write(lambda conn: conn.execute(parked))
    world.hints.jobs.clear()
    answer = await world.service.cancel(world.principal, video["id"])
    assert answer == video
    (job,) = await world.rows(jobs)
    assert (job.due is not None, job.parked_for) == (True, None)
    assert (await world.row(video["id"])).cancel_requested
    assert world.hints.jobs.is_set()
    await world.db.write(lambda conn: conn.execute(update(videos).values(cancel_requested=False)))
    await world.complete(video["id"])
    assert (await world.service.cancel(world.principal, video["id"]))["status"] == "completed"
    assert not (await world.row(video["id"])).cancel_requested


async def test_delete_of_a_live_video_cancels_it(world: World):
    video = await world.create()
    answer = await world.service.delete(world.principal, video["id"])
    assert answer == {"id": video["id"], "object": "video.deleted", "deleted": True}
    row = await world.row(video["id"])
    assert row.cancel_requested
    assert row.deleted_at is not None
    assert row.prompt is None
    with pytest.raises(NotFound):
        await world.service.delete(world.principal, video["id"])


async def test_delete_during_a_submit_keeps_the_words_it_may_send_again(world: World):
    video = await world.create()
    await world.db.write(lambda conn: conn.execute(update(videos).values(state="submitting")))
    await world.service.delete(world.principal, video["id"])
    assert (await world.row(video["id"])).prompt == "a cat"


async def test_delete_of_an_ended_video_erases_prompt_bytes_and_inputs(world: World, png: bytes):
    video = await world.create({"input_reference": world.upload(png)})
    await world.complete(video["id"])
    await world.service.delete(world.principal, video["id"])
    row = await world.row(video["id"])
    assert (row.prompt, row.content_key) == (None, None)
    assert row.hold_micros == 400_000
    assert not await world.stored("")


async def test_failed_videos_show_their_error_and_no_cost(world: World):
    video = await world.create()
    failed = {
        "state": "failed",
        "error_code": "cancelled",
        "error_message": "Cancelled.",
        "cost_status": "released",
    }
    await world.db.write(lambda conn: conn.execute(update(videos).values(**failed)))
    shown = await world.service.retrieve(world.principal, video["id"])
    assert shown["status"] == "failed"
    assert shown["error"] == {"code": "cancelled", "message": "Cancelled."}
    assert shown["cost"]["amount"] == "0.000000"
    assert world.service.poll_after_ms(shown) is None
    assert world.service.poll_after_ms(video) == 2000
