"""Usage on its way to Stripe: every entry once, through crashes and within the windows."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from billing import meters
from billing.ledger import Capture, Hold, capture_many, hold_many
from billing.ledger_moves import restore
from billing.meters import Usage, cancel_usage, enqueue_usage
from billing.stripe_opening import begin
from billing.stripe_tables import meter_events
from gateway.figures import Figures
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
    entry = await captured(shop, "video_a", 400_001)
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
    await shop.account.customer(ORG)
    assert await row_of(shop, await captured(shop, "video_1", 5)) is None  # and no subscription
    subscription = await shop.subscribe()
    assert (await row_of(shop, await captured(shop, "video_b", 5))).value == 5
    assert await shop.db.write(lambda conn: enqueue_usage(conn, [Usage("led_x", ORG, 0, 1)], 1)) == 0
    shop.double.world.set_subscription(subscription, "canceled")
    await shop.hear()
    await shop.db.write(lambda conn: restore(conn, ORG, "payment_failed"))
    assert await row_of(shop, await captured(shop, "video_c", 5)) is None
    await shop.service.subscribe(ORG)
    await shop.terms("off")
    count = await shop.db.write(lambda conn: enqueue_usage(conn, [Usage("led_y", ORG, 5, 1)], 1))
    assert count == 0


async def test_captures_beside_the_beginning_of_a_subscription_are_noted_once(shop: Shop) -> None:
    """Each is among what is owed when it begins, or sees it."""
    await shop.account.customer(ORG)
    await shop.terms("postpaid", 100 * USD)
    now = shop.clock.now_ms()
    new = {"id": "sub_1", "status": "active", "created": now // 1000}
    work: list[Awaitable[Any]] = [captured(shop, f"video_{n}", USD) for n in range(30)]
    work.insert(15, shop.db.write(lambda conn: begin(conn, ORG, new, 0, now)))
    await asyncio.gather(*work)
    noted = select(func.sum(meter_events.c.value))
    assert await shop.db.read(lambda conn: conn.scalar(noted)) == 30 * USD


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


async def test_delayed_usage_counts_when_it_is_first_sent(shop: Shop) -> None:
    """The invoice of its own time may be closed. However often it is sent, it keeps the time of the first try."""
    await shop.subscribe()
    await captured(shop, "video_fresh", 700, ago=9 * 60_000)
    late = await captured(shop, "video_late", 800)
    await change(shop, occurred_at=shop.clock.now_ms() - 40 * DAY)
    shop.double.faults.append((EVENTS, "lost"))
    before = shop.clock.now_ms() // 1000
    await shop.meter_outbox().once()
    await change(shop, due=0)
    await shop.meter_outbox().once()
    assert values(shop.double) == [700, 800]
    assert all(event["timestamp"] >= before for event in shop.double.world.usage.values())
    row = await row_of(shop, late)
    assert (row.state, row.occurred_at) == ("sent", row.attempted_at)
    assert shop.double.world.usage[late]["timestamp"] == row.attempted_at // 1000


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
    (notice,) = await shop.db.read(lambda conn: conn.execute(select(notices)).all())
    assert notice.kind == "meter_event_dead"
    assert entry in notice.message


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


async def figures(shop: Shop) -> dict[str, float]:
    """What the metrics say of usage."""
    await Figures(shop.db, shop.clock, shop.metrics).refresh()
    found = {}
    for family in shop.metrics.registry.collect():
        for sample in family.samples:
            if sample.name.startswith("onereel_meter_events"):
                found["".join([sample.name[20:], *sample.labels.values()])] = sample.value
    return found


async def test_metrics_tell_what_waits_and_what_became_of_it(shop: Shop) -> None:
    assert await figures(shop) == {"_pending": 0, "_age_seconds": 0}
    await shop.subscribe()
    shop.double.faults.append((EVENTS, 500))
    entry = await captured(shop, "video_a", 700)
    await change(shop, occurred_at=shop.clock.now_ms() - 2 * HOUR)
    waiting = await figures(shop)
    assert (waiting.pop("_age_seconds") // 60, waiting) == (120, {"_pending": 1})
    await shop.meter_outbox().once()
    assert (await figures(shop))["_age_seconds"] >= 7200  # however often it is tried
    await change(shop, due=0)
    await shop.meter_outbox().once()
    assert await figures(shop) == {"_pending": 0, "_age_seconds": 0, "_totalfailed": 1, "_totalsent": 1}
    assert await cancel(shop, entry) == "adjusting"
    told = await figures(shop)
    assert (told["_pending"], told["_age_seconds"]) == (1, 0)
    await shop.meter_outbox().once()
    await captured(shop, "video_b", 800)
    await change(shop, attempted_at=shop.clock.now_ms() - 24 * HOUR)
    await shop.meter_outbox().once()
    assert (await figures(shop))["_totaldead"] == 1


async def test_two_processes_share_the_rows(shop: Shop) -> None:
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
