"""Creating videos: rows, holds, groups, retries, idempotency; nothing is left behind by a refusal."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from billing.plans import Plan
from billing.tables import balances, budgets, entries
from gateway.billing.audit import audit
from gateway.errors import BadRequest, Forbidden, NotFound, QuotaExceeded
from gateway.idempotency.service import AlreadyRecordedError, Idempotency
from gateway.jobs.tables import jobs
from gateway.videos.create import Call
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from tests.gateway.videos.conftest import World, new_principal


async def test_create_writes_the_video_its_job_and_its_hold(world: World):
    video = await world.create(
        {"seconds": "8", "size": "1280x720", "seed": "7", "metadata": {"a": "b"}, "user": "u1"}
    )

    assert video["object"] == "video"
    assert video["status"] == "queued"
    assert (video["seconds"], video["size"], video["model"]) == ("8", "1280x720", "acme/fast")
    assert (video["progress"], video["completed_at"], video["error"]) == (0, None, None)
    assert video["cost"] == {"currency": "usd", "amount": "0.800000", "status": "held"}
    assert (video["metadata"], video["user"], video["operation"]) == ({"a": "b"}, "u1", "generate")
    assert "group" not in video
    row = await world.row(video["id"])
    request = StoredRequest.model_validate(row.request)
    assert (request.models, request.parameters) == (["acme/fast"], {"seed": 7})
    assert request.prices == {"routes": {"acme/fast-1": {"rates": [["output_second", "0.1"]]}}, "free": True}
    assert 0 <= row.deadline - row.created_at - 24 * 3_600_000 < 5_000
    (job,) = await world.rows(jobs)
    assert (job.id, job.kind, job.state, job.priority) == (video["id"], "video", "queued", 110)
    assert job.due is not None
    assert [entry.kind for entry in await world.rows(entries)] == ["hold"]
    assert world.hints.jobs.is_set()
    assert await world.service.retrieve(world.principal, video["id"]) == video


async def test_defaults_and_aliases(world: World):
    video = await world.service.create(world.call({"prompt": "x"}), {"prompt": "x"})
    assert (video["model"], video["seconds"], video["size"]) == ("acme/fast", "4", "720x1280")
    for name in ("sora-2", "sora-2-pro"):
        assert (await world.create({"model": name}))["model"] == "acme/fast"


async def test_shape_words_choose_the_size(world: World):
    assert (await world.create({"aspect_ratio": "16:9"}))["size"] == "1280x720"
    video = await world.create({"aspect_ratio": "16:9", "resolution": "1080p", "model": "acme/full"})
    assert video["size"] == "1920x1080"
    assert video["warnings"] == ["The model generates at 256x144; the result is scaled to 1920x1080."]


async def test_a_group_has_ids_seeds_holds_and_jobs_of_its_own(world: World):
    video = await world.create({"n": 3, "seed": 2**32 - 1})

    rows = sorted(await world.rows(videos), key=lambda row: row.id)
    assert video["group"] == [row.id for row in rows]
    assert video["id"] == rows[0].id
    assert [row.request["parameters"]["seed"] for row in rows] == [2**32 - 1, 0, 1]
    assert len({row.group_id for row in rows}) == 1
    assert len(await world.rows(jobs)) == len(await world.rows(entries)) == 3
    for row in rows:
        assert (await world.service.retrieve(world.principal, row.id))["group"] == video["group"]
    seedless = await world.create({"n": 2})
    seeds = [(await world.row(each)).request["parameters"]["seed"] for each in seedless["group"]]
    assert seeds[1] == (seeds[0] + 1) % 2**32


async def test_a_group_is_held_whole_or_not_at_all(paid: World):
    with pytest.raises(QuotaExceeded) as refused:
        await paid.create({"n": 3, "seconds": 4})
    assert (refused.value.code, refused.value.status) == ("insufficient_quota", 429)
    assert not await paid.rows(videos)
    assert not await paid.rows(jobs)
    assert [row.kind for row in await paid.rows(entries)] == ["credit"]
    await paid.create({"n": 2, "seconds": 4})
    (balance,) = await paid.rows(balances)
    assert (balance.available, balance.held) == (200_000, 800_000)


async def test_concurrent_creates_never_overspend(paid: World):
    results = await asyncio.gather(*(paid.create() for _ in range(6)), return_exceptions=True)
    made = [each for each in results if isinstance(each, dict)]
    assert len(made) == 2
    assert all(isinstance(each, dict | QuotaExceeded) for each in results)
    (balance,) = await paid.rows(balances)
    assert (balance.available, balance.held) == (200_000, 800_000)


async def test_prices_and_max_cost(paid: World):
    with pytest.raises(BadRequest) as refused:
        await paid.create({"max_cost": "0.39"})
    assert (refused.value.code, refused.value.param) == ("max_cost_exceeded", "max_cost")
    assert (await paid.create({"max_cost": 0.4}))["cost"]["amount"] == "0.400000"
    with pytest.raises(BadRequest) as unknown:
        await paid.create({"model": "acme/text"})
    assert unknown.value.code == "price_unknown"


async def test_an_unknown_price_costs_nothing_while_billing_is_off(world: World):
    assert (await world.create({"model": "acme/text"}))["cost"]["amount"] == "0.000000"


async def test_priorities(world: World):
    for tier in ("priority", "default", "flex"):
        await world.create({"service_tier": tier})
    assert sorted(row.priority for row in await world.rows(jobs)) == [100, 110, 120]


async def test_one_bad_organization_does_not_harm_its_neighbours(world: World):
    stranger = new_principal()  # has no balance row
    body = {"prompt": "x"}
    results = await asyncio.gather(
        world.create(),
        world.service.create(Call(stranger, "/v1/videos", "h"), body),
        world.create(),
        return_exceptions=True,
    )
    assert [isinstance(each, dict) for each in results] == [True, False, True]
    assert len(await world.rows(videos)) == 2


async def test_a_key_may_be_limited_to_models(world: World):
    with pytest.raises(Forbidden):
        await world.create(models=frozenset({"acme/full"}))
    await world.create({"model": "sora-2"}, models=frozenset({"sora-2"}))
    with pytest.raises(Forbidden):
        await world.create({"fallbacks": ["acme/text"]}, models=frozenset({"acme/fast"}))


async def test_fallbacks_must_be_able_to_make_the_same(world: World):
    video = await world.create({"fallbacks": ["acme/full", "acme/fast"]})
    assert (await world.row(video["id"])).request["models"] == ["acme/fast", "acme/full"]
    assert video["cost"]["amount"] == "2.000000"
    with pytest.raises(BadRequest) as refused:
        await world.create({"seconds": 12, "fallbacks": ["acme/full"]})
    assert refused.value.param == "fallbacks[0]"
    with pytest.raises(NotFound) as unknown:
        await world.create({"fallbacks": ["nope"]})
    assert unknown.value.param == "fallbacks[0]"


async def test_an_sdk_retry_gets_the_video_it_has_already_made(world: World):
    first = await world.create()
    assert (await world.create(retry=1))["id"] == first["id"]
    assert (await world.create(retry=2))["id"] == first["id"]
    assert len(await world.rows(videos)) == 1
    # the same count again is another lost request
    assert (await world.create(retry=2))["id"] != first["id"]
    # other body, other key, other project
    assert (await world.create({"prompt": "other"}, retry=1))["id"] != first["id"]
    assert (await world.create(retry=1, key_id="key_2"))["id"] != first["id"]


async def test_a_retry_of_a_group_gets_the_whole_group(world: World):
    first = await world.create({"n": 2})
    assert await world.create({"n": 2}, retry=1) == first
    assert len(await world.rows(videos)) == 2


async def test_a_retry_leaves_no_inputs_behind(world: World, png: bytes):
    first = await world.create({"input_reference": world.upload(png)})
    again = await world.create({"input_reference": world.upload(png)}, retry=1)
    assert again["id"] == first["id"]
    assert await world.stored("inputs/") == [f"inputs/{first['id']}/0"]


async def test_a_retry_waits_for_the_request_it_repeats(world: World):
    first, again = await asyncio.gather(world.create(), world.create(retry=1))
    assert first["id"] == again["id"]


async def test_an_old_create_is_not_claimed(world: World):
    first = await world.create()
    past = world.clock.now_ms() - 31 * 60 * 1000
    await world.db.write(lambda conn: conn.execute(videos.update().values(created_at=past)))
    assert (await world.create(retry=1))["id"] != first["id"]


@given(lost=st.lists(st.integers(min_value=0, max_value=2), min_size=1, max_size=5))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_honest_twins_stay_as_many_as_they_are(anyio_backend, world_loop, lost: list[int]):
    """Each of several equal clients loses some answers and retries: there are as many videos as clients."""
    world_loop(lost)


@pytest.fixture
def world_loop(request, tmp_path):
    """Runs one example in a loop and database of its own (hypothesis reuses the function's fixtures)."""
    import uuid

    from gateway.clock import Clock
    from gateway.db_open import open_database
    from gateway.settings import Settings
    from tests.conftest import create_tables
    from tests.gateway.videos.conftest import ACME, build

    def run(lost: list[int]) -> None:
        async def example() -> None:
            folder = tmp_path / uuid.uuid4().hex
            folder.mkdir()
            configuration = Settings(data_dir=folder, upstreams=(ACME,), default_model="acme/fast")
            db = open_database(configuration, Clock())
            try:
                await db.write(create_tables)
                world = await build(db, Clock(), folder, configuration)
                for count in (0, 1, 2):
                    for losses in lost:
                        if count <= losses:
                            await world.create(retry=count)
                assert len(await world.rows(videos)) == len(lost)
            finally:
                await db.close()

        asyncio.run(example())

    return run


async def test_an_idempotency_key_answers_once(world: World):
    guard = Idempotency(world.db, world.clock)
    body = {"prompt": "x"}
    call = world.call(body, key="k1")

    async def post() -> tuple[int, dict[str, object]]:
        return 200, await world.service.create(call, body)

    answers = await asyncio.gather(*(guard.run(call.claim, post) for _ in range(4)))
    assert len({answer["id"] for _, answer in answers}) == 1
    assert len(await world.rows(videos)) == 1
    # another process has not seen it in flight: its transaction is refused and it reads the answer
    with pytest.raises(AlreadyRecordedError):
        await post()
    assert len(await world.rows(videos)) == 1
    other = world.call({"prompt": "y"}, key="k1")
    with pytest.raises(BadRequest) as reused:
        await guard.run(other.claim, post)
    assert reused.value.code == "idempotency_key_reused"


async def test_a_refused_create_may_use_its_key_again(paid: World):
    guard = Idempotency(paid.db, paid.clock)
    body = {"prompt": "x", "n": 5}
    call = paid.call(body, key="k1")

    async def post() -> tuple[int, dict[str, object]]:
        return 200, await paid.service.create(call, body)

    for _ in range(2):
        with pytest.raises(QuotaExceeded):
            await guard.run(call.claim, post)


async def test_a_quote_runs_nothing(world: World):
    quote = await world.service.quote(
        world.principal, {"prompt": "x", "seconds": 8, "n": 2, "model": "acme/fast"}
    )
    assert quote["cost"] == quote["hold"] == {"currency": "usd", "amount": "1.600000"}
    assert quote["route"] == {"upstream": "acme", "model": "fast-1"}
    (line,) = quote["routes"][0]["price"]["lines"]
    assert line == {"unit": "output_second", "quantity": "8", "unit_price": "0.1", "amount": "0.800000"}
    assert (quote["seconds"], quote["size"], quote["n"]) == ("8", "720x1280", 2)
    assert not await world.rows(videos)
    assert await world.db.read(lambda conn: conn.execute(select(entries)).first()) is None


async def test_a_poisoned_create_among_fifty_fails_alone(world: World) -> None:
    organization = world.principal.organization_id
    nothing = {
        "id": "bud_1", "organization_id": organization, "scope": "user", "scope_id": "poison", "period": "day",
        "unit": "usd", "amount": 0, "hard": True, "created_at": 0,
    }  # fmt: skip
    await world.db.write(lambda conn: conn.execute(insert(budgets).values(nothing)))
    users = [f"user-{n}" if n != 25 else "poison" for n in range(50)]
    answers = await asyncio.gather(
        *(world.create({"prompt": user, "user": user}) for user in users), return_exceptions=True
    )
    assert [n for n, answer in enumerate(answers) if isinstance(answer, QuotaExceeded)] == [25]
    assert sum(isinstance(answer, dict) for answer in answers) == 49
    assert await world.db.read(audit) == []


async def test_videos_beyond_the_months_fast_ones_go_to_the_slow_queue(world: World) -> None:
    plan = Plan(id="few", queue="fast", fast_videos_per_month=3)
    await world.create(plan=plan)
    await world.create({"n": 4}, plan=plan)
    await world.create(plan=plan)
    found = sorted((row.id, row.priority) for row in await world.rows(jobs))
    assert [priority for _, priority in found] == [10, 10, 10, 210, 210, 210]
