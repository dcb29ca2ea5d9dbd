import pytest

from gateway.errors import BadRequest, NotFound
from gateway.jobs.outbox_rows import ClaimRequest, Recorded, claim, record
from gateway.webhooks.forms import EndpointChanges
from gateway.webhooks.store import PageQuery
from tests.gateway.webhooks.conftest import PROJECT, Shop
from tests.gateway.webhooks.receiver import receiving, status


async def test_redelivery_keeps_the_event_id(shop: Shop) -> None:
    async with receiving(status(410)) as receiver, shop.running(receiver):
        service = shop.service(receiver)
        endpoint = await shop.endpoint(receiver)
        await shop.emit("video_a")
        await shop.until(lambda rows: rows[0].state == "dead")
        (failed,) = (await service.list_deliveries(PROJECT, endpoint["id"], PageQuery())).data
        assert (failed["status"], failed["attempts"], failed["last_result"]) == ("failed", 1, "HTTP 410")
        assert failed["next_attempt_at"] is None

        receiver.answer = None
        again = await service.redeliver(PROJECT, endpoint["id"], failed["id"])
        assert (again["id"], again["status"], again["attempts"]) == (failed["id"], "pending", 0)
        await shop.until(lambda rows: rows[0].state == "delivered")
        await service.redeliver(PROJECT, endpoint["id"], failed["id"])  # a delivered one can be repeated too
        await receiver.got(3)
        (done,) = (await service.list_deliveries(PROJECT, endpoint["id"], PageQuery())).data
    assert done["event_id"] == failed["event_id"]
    assert {hit.event_id for hit in receiver.hits} == {failed["event_id"]}
    assert len({hit.body for hit in receiver.hits}) == 1


async def test_redelivery_overtakes_a_try_under_way(shop: Shop) -> None:
    async with receiving() as receiver:
        endpoint = await shop.endpoint(receiver)
        await shop.emit("video_a")
        want = ClaimRequest(owner="a", lease_ms=30_000, count=1, blocked=(), room={}, room_default=1)
        (running,) = await shop.db.write(lambda conn: claim(conn, want, shop.box))
        await shop.service(receiver).redeliver(PROJECT, endpoint["id"], running.id)
        assert not await shop.db.write(lambda conn: record(conn, Recorded(running, "dead", "HTTP 410")))
        async with shop.running(receiver):
            await receiver.got(1)


async def test_deliveries_to_a_request_s_own_url_are_under_default(shop: Shop) -> None:
    async with receiving() as receiver, shop.running(receiver):
        service = shop.service(receiver)
        endpoint = await shop.endpoint(receiver)
        await shop.emit("video_a", receiver.url("/own"))
        await receiver.got(2)
        (own,) = (await service.list_deliveries(PROJECT, "default", PageQuery())).data
        assert own["url"] == receiver.url("/own")
        assert own["webhook_endpoint_id"] == "default"
        with pytest.raises(NotFound):
            await service.redeliver(PROJECT, endpoint["id"], own["id"])
        with pytest.raises(NotFound):
            await service.redeliver("proj_2", "default", own["id"])
        await service.redeliver(PROJECT, "default", own["id"])
        await receiver.got(3)


async def test_a_corrected_address_serves_what_waits(shop: Shop) -> None:
    async with receiving(status(500)) as wrong, receiving() as right, shop.running(wrong, right):
        endpoint = await shop.endpoint(wrong)
        await shop.emit("video_a")
        await shop.until(lambda rows: rows[0].tries == 1)
        service = shop.service(wrong, right)
        await service.update(PROJECT, endpoint["id"], EndpointChanges(url=right.url()))
        await shop.make_due()
        (hit,) = await right.got(1)
    assert hit.event_id == wrong.hits[0].event_id


async def test_deliveries_are_paged_newest_first(shop: Shop) -> None:
    async with receiving() as receiver:
        service = shop.service(receiver)
        endpoint = await shop.endpoint(receiver)
        for n in range(5):
            await shop.emit(f"video_{n}")
        first = await service.list_deliveries(PROJECT, endpoint["id"], PageQuery(limit=3))
        rest = await service.list_deliveries(
            PROJECT, endpoint["id"], PageQuery(limit=3, after=first.data[-1]["id"])
        )
        assert [each["video_id"] for each in first.data + rest.data] == [
            f"video_{n}" for n in (4, 3, 2, 1, 0)
        ]
        assert (first.has_more, rest.has_more) == (True, False)
        with pytest.raises(BadRequest):
            await service.list_deliveries(PROJECT, endpoint["id"], PageQuery(after="whd_unknown"))
