import asyncio
import json
import time
from base64 import b64encode

import openai
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from standardwebhooks import Webhook

from gateway.jobs.outbox import BACKOFF_SECONDS, OutboxOptions, decide
from gateway.jobs.outbox_rows import ClaimRequest, Delivery, Recorded, claim, purge, record
from gateway.jobs.tables import outbox
from gateway.keys.tables import projects
from gateway.webhooks.sending import Outcome
from tests.gateway.webhooks.conftest import PROJECT, Shop
from tests.gateway.webhooks.receiver import Hit, never, receiving, status


def unwrap(hit: Hit, secret: str) -> object:
    return openai.OpenAI(api_key="x", webhook_secret=secret).webhooks.unwrap(hit.body.decode(), hit.headers)


async def test_official_verifiers_accept_a_delivery(shop: Shop) -> None:
    async with receiving() as receiver, shop.running(receiver):
        endpoint = await shop.endpoint(receiver)
        assert await shop.emit("video_a") == 1
        (hit,) = await receiver.got(1)
        rows = await shop.until(lambda rows: rows[0].state == "delivered")

    event = unwrap(hit, endpoint["signing_secret"])
    assert event.type == "video.completed"  # type: ignore[attr-defined]  # the SDK's union has other classes
    assert event.data.id == "video_a"  # type: ignore[attr-defined]
    payload = Webhook(endpoint["signing_secret"]).verify(hit.body, hit.headers)
    assert payload.keys() == {"id", "object", "created_at", "type", "data"}
    assert payload["id"] == hit.event_id == rows[0].event_id
    assert payload["object"] == "event"
    assert abs(payload["created_at"] - time.time()) < 60
    assert hit.headers["content-type"] == "application/json"
    assert (rows[0].tries, rows[0].last_status, rows[0].due) == (1, "HTTP 200", None)
    assert rows[0].delivered_at is not None


async def test_a_wrong_secret_is_noticed(shop: Shop) -> None:
    async with receiving() as receiver, shop.running(receiver):
        await shop.endpoint(receiver)
        await shop.emit("video_a")
        (hit,) = await receiver.got(1)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        unwrap(hit, "whsec_" + b64encode(b"x" * 32).decode())


async def test_settling_twice_is_a_key_violation(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver)
        await shop.emit("video_a")
        with pytest.raises(IntegrityError):
            await shop.emit("video_a")
    assert len(await shop.rows()) == 1


async def test_who_is_told(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver, "/one")
        await shop.endpoint(receiver, "/two")
        await shop.endpoint(receiver, "/foreign", project="proj_2")
        assert await shop.emit("video_a", receiver.url("/own")) == 3
        assert await shop.emit("video_b", receiver.url("/one")) == 2  # an address is told once
        assert await shop.emit("video_c", kind="video.failed") == 0  # nobody subscribed
    rows = await shop.rows()
    assert [row.url.rpartition("/")[2] for row in rows] == ["one", "two", "own", "one", "two"]
    assert len({row.event_id for row in rows}) == 2
    assert len({row.body for row in rows}) == 2


async def test_a_request_s_own_url_is_signed_with_the_project_secret(shop: Shop) -> None:
    async with receiving() as receiver, shop.running(receiver):
        service = shop.service(receiver)
        before = await service.with_secret(PROJECT, await service.retrieve(PROJECT, "default"))
        await shop.emit("video_a", receiver.url("/own"))
        (hit,) = await receiver.got(1)
        unwrap(hit, before["signing_secret"])

        await service.rotate_secret(PROJECT, "default", keep_old=True)
        after = await service.with_secret(PROJECT, await service.retrieve(PROJECT, "default"))
        await shop.emit("video_b", receiver.url("/own"))
        hit = (await receiver.got(2))[1]
    assert after["signing_secret"] != before["signing_secret"]
    for secret in (before["signing_secret"], after["signing_secret"]):
        unwrap(hit, secret)
    stored = await shop.db.read(
        lambda conn: conn.scalar(select(projects.c.webhook_secret).where(projects.c.id == PROJECT))
    )
    assert stored is not None
    assert after["signing_secret"].encode() not in stored


async def test_the_first_delivery_makes_the_project_secret(shop: Shop) -> None:
    async with receiving() as receiver, shop.running(receiver):
        await shop.emit("video_a", receiver.url("/own"))
        (hit,) = await receiver.got(1)
        service = shop.service(receiver)
        unwrap(hit, (await service.with_secret(PROJECT, {"id": "default"}))["signing_secret"])


async def test_rotation_signs_with_both_secrets_while_the_old_one_holds(shop: Shop) -> None:
    async with receiving() as receiver, shop.running(receiver):
        endpoint = await shop.endpoint(receiver)
        service = shop.service(receiver)
        rotated = await service.rotate_secret(PROJECT, endpoint["id"], keep_old=True)
        new = (await service.with_secret(PROJECT, rotated))["signing_secret"]
        await shop.emit("video_a")
        (hit,) = await receiver.got(1)
        assert hit.headers["webhook-signature"].count("v1,") == 2
        for secret in (endpoint["signing_secret"], new):
            unwrap(hit, secret)
            Webhook(secret).verify(hit.body, hit.headers)

        await service.rotate_secret(PROJECT, endpoint["id"], keep_old=False)
        await shop.emit("video_b")
        hit = (await receiver.got(2))[1]
        for secret in (endpoint["signing_secret"], new):
            with pytest.raises(openai.InvalidWebhookSignatureError):
                unwrap(hit, secret)


async def test_retries_keep_the_event_and_give_up_after_the_last(shop: Shop) -> None:
    async with receiving(status(500)) as receiver, shop.running(receiver):
        await shop.endpoint(receiver)
        await shop.emit("video_a")
        for tries in range(1, len(BACKOFF_SECONDS) + 1):
            rows = await shop.until(lambda rows, tries=tries: rows[0].tries == tries)  # type: ignore[misc]
            assert rows[0].state == "pending"
            wait = rows[0].due - shop.clock.now_ms()
            assert (
                0.85 * BACKOFF_SECONDS[tries - 1] - 2 < wait / 1000 <= 1.06 * BACKOFF_SECONDS[tries - 1] + 2
            )
            await shop.make_due()
        rows = await shop.until(lambda rows: rows[0].state == "dead")
        assert rows[0].last_status == "HTTP 500"
        assert rows[0].due is None
        assert len(receiver.hits) == len(BACKOFF_SECONDS) + 1
        assert len({(hit.event_id, hit.body) for hit in receiver.hits}) == 1


def test_the_last_try_is_within_a_day() -> None:
    delivery = Delivery("whd_1", 1, "evt_1", "http://a", "http://a:80", "{}", 0)
    total = 0.0
    for tries in range(len(BACKOFF_SECONDS)):
        due = Delivery(**{**{f: getattr(delivery, f) for f in delivery.__slots__}, "tries": tries})
        outcome = decide(due, Outcome(None, "no answer"), lambda _low, high: high)
        assert outcome.retry_ms is not None
        total += outcome.retry_ms / 1000
    assert 20 * 3600 < total < 24 * 3600


async def test_410_ends_the_delivery(shop: Shop) -> None:
    async with receiving(status(410)) as receiver, shop.running(receiver):
        await shop.endpoint(receiver)
        await shop.emit("video_a")
        rows = await shop.until(lambda rows: rows[0].state == "dead")
    assert rows[0].tries == 1


async def test_redirects_are_not_followed(shop: Shop) -> None:
    async with receiving(status(307)) as receiver, receiving() as other, shop.running(receiver, other):
        receiver.extra = f"location: {other.url()}\r\n"
        await shop.endpoint(receiver)
        await shop.emit("video_a")
        rows = await shop.until(lambda rows: rows[0].tries == 1)
    assert rows[0].last_status == "HTTP 307"
    assert not other.hits


async def test_private_addresses_are_refused_when_delivering(shop: Shop) -> None:
    async with receiving() as receiver, shop.running():  # the outbox does not know the exception
        await shop.emit("video_a", receiver.url())
        rows = await shop.until(lambda rows: rows[0].tries == 1)
    assert rows[0].state == "pending"
    assert "private" in rows[0].last_status
    assert not receiver.hits


async def test_a_dead_receiver_delays_nobody_else(shop: Shop) -> None:
    options = OutboxOptions(concurrency=8, per_origin=2, poll_seconds=0.05)
    async with receiving(never) as dead, receiving() as alive, shop.running(dead, alive, options=options):
        for n in range(300):  # more than one claim looks at, each under an address of its own
            await shop.emit(f"video_dead{n}", dead.url(f"/hook/{n}"))
        await dead.got(2)
        started = time.monotonic()
        for n in range(20):
            await shop.emit(f"video_{n}", alive.url(f"/hook/{n}"))
        await alive.got(20, seconds=5)
        assert time.monotonic() - started < 5
        assert len(dead.hits) == 2


async def test_two_processes_deliver_each_event_once(shop: Shop) -> None:
    async with receiving() as receiver, shop.running(receiver), shop.running(receiver):
        await shop.endpoint(receiver)
        for n in range(30):
            await shop.emit(f"video_{n}")
        await shop.until(lambda rows: all(row.state == "delivered" for row in rows))
        assert len(receiver.hits) == 30
        assert len({hit.event_id for hit in receiver.hits}) == 30


async def test_a_stale_process_cannot_record(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver)
        await shop.emit("video_a")

    def want(owner: str) -> ClaimRequest:
        return ClaimRequest(owner=owner, lease_ms=30_000, count=5, blocked=(), room={}, room_default=5)

    (stale,) = await shop.db.write(lambda conn: claim(conn, want("a"), shop.box))
    assert await shop.db.write(lambda conn: claim(conn, want("b"), shop.box)) == []
    await shop.db.write(lambda conn: conn.execute(update(outbox).values(lease_until=0)))
    (fresh,) = await shop.db.write(lambda conn: claim(conn, want("b"), shop.box))
    assert not await shop.db.write(lambda conn: record(conn, Recorded(stale, "dead", "stale")))
    assert await shop.db.write(lambda conn: record(conn, Recorded(fresh, "delivered", "HTTP 200")))
    (row,) = await shop.rows()
    assert (row.state, row.last_status) == ("delivered", "HTTP 200")


async def test_a_lost_process_leaves_its_deliveries_to_others(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver)
        await shop.emit("video_a")
        want = ClaimRequest(owner="lost", lease_ms=300, count=5, blocked=(), room={}, room_default=5)
        await shop.db.write(lambda conn: claim(conn, want, shop.box))
        async with shop.running(receiver):
            if (
                shop.db.dialect == "postgresql"
            ):  # the lost one may live; embedded, a new process is the only one
                await asyncio.sleep(0.1)
                assert not receiver.hits
            await receiver.got(1)


async def test_stop_lets_running_deliveries_end(shop: Shop) -> None:
    async def slow(_hit: Hit) -> int:
        await asyncio.sleep(0.3)
        return 200

    async with receiving(slow) as receiver:
        await shop.endpoint(receiver)
        instance = shop.outbox(receiver)
        task = asyncio.create_task(instance.run())
        await shop.emit("video_a")
        await receiver.got(1)
        await instance.stop()
        await task
    (row,) = await shop.rows()
    assert row.state == "delivered"


async def test_a_deleted_endpoint_gets_nothing_more(shop: Shop) -> None:
    async with receiving() as receiver:
        endpoint = await shop.endpoint(receiver)
        await shop.emit("video_a")
        await shop.service(receiver).delete(PROJECT, endpoint["id"])
        assert await shop.emit("video_b") == 0
        async with shop.running(receiver):
            await asyncio.sleep(0.2)
        assert not receiver.hits
    (row,) = await shop.rows()
    assert (row.state, row.last_status) == ("dead", "the endpoint was deleted")


async def test_finished_rows_are_purged_by_age(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver)
        for name in ("video_a", "video_b"):
            await shop.emit(name)
        first = (await shop.rows())[0]
        await shop.db.write(
            lambda conn: conn.execute(
                update(outbox).where(outbox.c.id == first.id).values(state="delivered", due=None)
            )
        )
        now = shop.clock.now_ms()
        assert await shop.db.write(lambda conn: purge(conn, now - 3_600_000)) == 0
        assert await shop.db.write(lambda conn: purge(conn, now + 3_600_000)) == 1
    assert [json.loads(row.body)["data"]["id"] for row in await shop.rows()] == ["video_b"]
