"""Usage on its way to Stripe: every entry once, through crashes and within the windows."""

from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from billing import meters
from billing.ledger import Capture, Hold, capture_many, hold_many
from billing.meters import Usage, cancel_usage, enqueue_usage
from billing.stripe_tables import meter_events
from gateway.jobs.tables import notices
from tests.billing.stripe_double import EVENT_NAME, StripeDouble
from tests.billing.stripe_shop import ORG, USD, Shop, double, shop

__all__ = ["double", "shop"]

EVENTS = "/v1/billing/meter_events"
HOUR = 3_600_000
DAY = 24 * HOUR


async def captured(shop: Shop, video: str, micros: int, *, ago: int = 0) -> str:
    """A video that was held, captured and noted for Stripe in one transaction."""
    now = shop.clock.now_ms()

    def write(conn: Any) -> None:
        hold = Hold(video, ORG, micros, now - ago)
        assert hold_many(conn, [hold]) == [None]
        assert capture_many(conn, [Capture(hold, micros)], now - ago) == [None]
        enqueue_usage(conn, [Usage(f"led_capture_0_{video}", ORG, micros, now - ago)], now)

    await shop.db.write(write)
    return f"led_capture_0_{video}"


async def row_of(shop: Shop, entry: str) -> Any:
    query = select(meter_events).where(meter_events.c.id == entry)
    return await shop.db.read(lambda conn: conn.execute(query).one_or_none())


async def change(shop: Shop, **values: Any) -> None:
    await shop.db.write(lambda conn: conn.execute(update(meter_events).values(**values)))


def values(double: StripeDouble) -> list[int]:
    return sorted(int(each["payload"]["value"]) for each in double.world.usage.values())


async def test_usage_arrives_once_with_its_time_and_its_customer(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 400_001, ago=2 * DAY)
    assert await shop.meter_outbox().once()
    assert not await shop.meter_outbox().once()
    (event,) = shop.double.world.usage.values()
    assert event["identifier"] == entry
    assert event["payload"] == {
        "stripe_customer_id": (await shop.customer()).customer_id,
        "value": "400001",
    }
    row = await row_of(shop, entry)
    assert event["timestamp"] == row.occurred_at // 1000
    assert (row.state, row.due) == ("sent", None)


async def test_who_is_metered(shop: Shop) -> None:
    await shop.terms("postpaid", 10 * USD)
    assert await row_of(shop, await captured(shop, "video_a", 5)) is None  # no customer yet
    await shop.subscribe()
    assert (await row_of(shop, await captured(shop, "video_b", 5))).value == 5
    assert await shop.db.write(lambda conn: enqueue_usage(conn, [Usage("led_x", ORG, 0, 1)], 1)) == 0
    await shop.terms("off")
    count = await shop.db.write(lambda conn: enqueue_usage(conn, [Usage("led_y", ORG, 5, 1)], 1))
    assert count == 0


async def test_noting_an_entry_twice_is_a_key_violation(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 5)
    with pytest.raises(IntegrityError):
        await shop.db.write(lambda conn: enqueue_usage(conn, [Usage(entry, ORG, 5, 1)], 1))


async def test_a_crash_between_send_and_mark_sends_the_same_identifier_again(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    outbox = shop.meter_outbox()
    now = shop.clock.now_ms()
    claimed = await shop.db.write(lambda conn: meters.claim(conn, "dying", now, 1000, 8))
    await outbox._request(claimed[0])  # the process ends here: nothing is marked
    assert (await row_of(shop, entry)).state == "pending"
    await change(shop, lease_until=0)
    assert await shop.meter_outbox().once()
    assert (await row_of(shop, entry)).state == "sent"
    sends = shop.double.posts(EVENTS)
    assert [call.fields["identifier"] for call in sends] == [entry, entry]
    assert len({call.key for call in sends}) == 1
    assert values(shop.double) == [700]


@pytest.mark.parametrize("fault", ["lost", "unreached", 500, 429])
async def test_whatever_happens_on_the_way_it_is_counted_once(shop: Shop, fault: Any) -> None:
    await shop.subscribe()
    shop.double.faults.append((EVENTS, fault))
    entry = await captured(shop, "video_a", 700)
    await shop.meter_outbox().once()
    row = await row_of(shop, entry)
    assert (row.state, row.tries) == ("pending", 1)
    assert row.last_error
    await change(shop, due=0)
    await shop.meter_outbox().once()
    assert (await row_of(shop, entry)).state == "sent"
    assert values(shop.double) == [700]


async def test_a_refused_duplicate_means_that_stripe_has_it(shop: Shop) -> None:
    """A 500 may come after the work: then the next try, under another key, is refused as a duplicate."""
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    shop.double.faults.append((EVENTS, 500))
    await shop.meter_outbox().once()
    now = shop.clock.now_ms()
    row = await row_of(shop, entry)
    shop.double.world.meter_event(
        {
            "event_name": EVENT_NAME,
            "identifier": entry,
            "payload": {"stripe_customer_id": row.customer_id, "value": "700"},
            "timestamp": str(now // 1000),
        }
    )
    await change(shop, due=0)
    await shop.meter_outbox().once()
    assert (await row_of(shop, entry)).state == "sent"
    assert values(shop.double) == [700]


async def test_usage_older_than_35_days_is_dead_and_told(shop: Shop) -> None:
    await shop.subscribe()
    late = await captured(shop, "video_late", 700, ago=35 * DAY + HOUR)
    fresh = await captured(shop, "video_fresh", 800, ago=34 * DAY)
    await shop.meter_outbox().once()
    row = await row_of(shop, late)
    assert (row.state, row.due) == ("dead", None)
    assert "35 days" in row.last_error
    assert (await row_of(shop, fresh)).state == "sent"
    assert values(shop.double) == [800]
    (notice,) = await shop.db.read(lambda conn: conn.execute(select(notices)).all())
    assert notice.kind == "meter_event_dead"
    assert late in notice.message


async def test_an_unanswered_send_is_never_repeated_after_a_day(shop: Shop) -> None:
    """Stripe may have it and no longer knows the identifier: sending it again could count it twice."""
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    shop.double.faults.append((EVENTS, "lost"))
    await shop.meter_outbox().once()
    now = shop.clock.now_ms()
    await change(shop, due=0, attempted_at=now - 24 * HOUR)
    shop.double.world.offset += 25 * 3600
    await shop.meter_outbox().once()
    row = await row_of(shop, entry)
    assert row.state == "dead"
    assert "24 hours" in row.last_error
    assert values(shop.double) == [700]


async def test_a_send_that_was_turned_away_may_wait_for_days(shop: Shop) -> None:
    await shop.subscribe()
    shop.double.world.meters[shop.double.meter_id]["status"] = "inactive"
    entry = await captured(shop, "video_a", 700, ago=3 * DAY)
    await shop.meter_outbox().once()
    row = await row_of(shop, entry)
    assert (row.state, row.attempted_at) == ("pending", None)
    assert "No active meter" in row.last_error
    shop.double.world.meters[shop.double.meter_id]["status"] = "active"
    await change(shop, due=0)
    await shop.meter_outbox().once()
    assert (await row_of(shop, entry)).state == "sent"


async def test_two_processes_share_the_rows(shop: Shop) -> None:
    import asyncio

    await shop.subscribe()
    for n in range(40):
        await captured(shop, f"video_{n}", 100 + n)
    outboxes = [shop.meter_outbox(), shop.meter_outbox()]
    while any(await asyncio.gather(*[each.once() for each in outboxes])):
        pass
    assert values(shop.double) == list(range(100, 140))
    assert len(shop.double.posts(EVENTS)) == 40


async def test_it_runs_beside_the_requests(shop: Shop) -> None:
    from gateway.background import running

    await shop.subscribe()
    async with running(shop.meter_outbox()):
        entry = await captured(shop, "video_a", 700)

        async def sent() -> bool:
            return bool((await row_of(shop, entry)).state == "sent")

        await shop.eventually(sent)


async def cancel(shop: Shop, entry: str) -> str:
    now = shop.clock.now_ms()
    return await shop.db.write(lambda conn: cancel_usage(conn, entry, now))


async def test_a_reversed_entry_that_was_not_sent_never_is(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    assert await cancel(shop, entry) == "cancelled"
    assert not await shop.meter_outbox().once()
    assert values(shop.double) == []
    assert await cancel(shop, entry) == "none"


async def test_a_reversed_entry_is_cancelled_at_stripe(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    await shop.meter_outbox().once()
    assert await cancel(shop, entry) == "adjusting"
    assert await cancel(shop, entry) == "adjusting"
    shop.double.faults.append(("/v1/billing/meter_event_adjustments", "lost"))
    await shop.meter_outbox().once()
    await shop.meter_outbox().once()
    assert shop.double.world.usage[entry]["cancelled"]
    assert (await row_of(shop, entry)).adjust == "sent"


async def test_a_reversal_during_the_send_is_cancelled_after_it(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    now = shop.clock.now_ms()
    outbox = shop.meter_outbox()
    (item,) = await shop.db.write(lambda conn: meters.claim(conn, outbox._owner, now, 60_000, 8))
    assert await cancel(shop, entry) == "adjusting"
    await outbox._try(item)
    await outbox.once()
    assert shop.double.world.usage[entry]["cancelled"]


async def test_a_reversal_after_a_day_is_too_late(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    await shop.meter_outbox().once()
    await change(shop, sent_at=shop.clock.now_ms() - 25 * HOUR)
    assert await cancel(shop, entry) == "too_late"
    assert (await row_of(shop, entry)).adjust == "dead"
    assert not shop.double.world.usage[entry]["cancelled"]


async def test_a_fence_keeps_a_slow_process_from_marking(shop: Shop) -> None:
    await shop.subscribe()
    entry = await captured(shop, "video_a", 700)
    now = shop.clock.now_ms()
    (slow,) = await shop.db.write(lambda conn: meters.claim(conn, "slow", now, 0, 8))
    (fast,) = await shop.db.write(lambda conn: meters.claim(conn, "fast", now + 1, 1000, 8))
    assert not await shop.db.write(lambda conn: meters.give_up(conn, slow, "too slow"))
    assert await shop.db.write(lambda conn: meters.done(conn, fast, now))
    assert (await row_of(shop, entry)).state == "sent"


async def test_a_value_is_never_negative_or_zero(shop: Shop) -> None:
    row = {
        "id": "led_x",
        "organization_id": ORG,
        "customer_id": "cus_1",
        "value": 0,
        "occurred_at": 1,
        "state": "pending",
    }
    with pytest.raises(IntegrityError):
        await shop.db.write(lambda conn: conn.execute(insert(meter_events).values(row)))
