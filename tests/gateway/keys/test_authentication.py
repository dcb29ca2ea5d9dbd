"""From token to principal: who gets in, for how long, at what cost."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import NotFound, Unauthorized, Unavailable
from gateway.keys import authentication
from gateway.keys.forms import KeyChanges, KeyForm, NameForm
from gateway.keys.service import DEFAULT_PROJECT, KeyService, operator_principal
from gateway.keys.tables import api_keys
from gateway.keys.tokens import digest
from gateway.principal import Principal, Scope
from gateway.settings import Settings
from tests.gateway.keys.conftest import FakeTime, NewKey

T = TypeVar("T")


class CountingDatabase:
    """Passes reads on and counts them; `broken` makes them fail as a lost connection does."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.dialect = inner.dialect
        self.reads = 0
        self.broken = False

    async def read(self, fn: Callable[[Connection], T]) -> T:
        self.reads += 1
        if self.broken:
            raise ConnectionError("gone")
        return await self._inner.read(fn)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


async def test_first_start_makes_one_admin_key_once(db: Database, clock: Clock, settings: Settings):
    first, second = KeyService(db, clock, settings), KeyService(db, clock, settings)
    values = await asyncio.gather(first.bootstrap(), second.bootstrap())
    assert sorted(value is None for value in values) == [False, True]
    token = next(value for value in values if value)
    assert token.startswith("onereel_")
    principal = await second.authenticate(token)
    assert principal.scopes == frozenset(Scope)
    assert principal.project_id == DEFAULT_PROJECT
    assert await first.bootstrap() is None


async def test_two_processes_starting_at_once_make_one_admin_key(
    db: Database, clock: Clock, settings: Settings, elsewhere: KeyService
):
    here = KeyService(db, clock, settings)
    values = await asyncio.gather(here.bootstrap(), elsewhere.bootstrap())
    assert sum(value is not None for value in values) == 1


async def test_the_secret_is_stored_only_as_its_hash(db: Database, keys: KeyService, new_key: NewKey):
    made = await new_key()
    rows = await db.read(lambda conn: conn.execute(select(api_keys)).fetchall())
    assert made["value"] not in repr(rows)
    assert digest(made["value"]) in repr(rows)
    assert made["redacted_value"] == f"onereel_...{made['value'][-4:]}"


async def test_configured_admin_key_is_the_operator_and_needs_no_second_secret(
    db: Database, clock: Clock, settings: Settings
):
    configured = settings.model_copy(update={"admin_key": SecretStr("let-me-in")})
    service = KeyService(db, clock, configured)
    assert await service.bootstrap() is None
    assert await service.authenticate("let-me-in") == operator_principal()
    assert (await service.get_project(operator_principal(), DEFAULT_PROJECT))["name"] == "Default"


async def test_an_empty_admin_key_lets_nobody_in(db: Database, clock: Clock, settings: Settings):
    service = KeyService(db, clock, settings.model_copy(update={"admin_key": SecretStr("")}))
    with pytest.raises(Unauthorized):
        await service.authenticate("")


async def test_principal_carries_the_limits_of_the_key(keys: KeyService, new_key: NewKey):
    made = await new_key(
        scopes=["videos.read"], models=["acme/fast"], requests_per_minute=7, concurrent_videos=2
    )
    principal = await keys.authenticate(made["value"])
    assert principal.key_id == made["id"]
    assert principal.scopes == {Scope.VIDEOS_READ}
    assert principal.models == frozenset({"acme/fast"})
    assert (principal.requests_per_minute, principal.concurrent_videos) == (7, 2)


async def test_unknown_keys_are_refused_and_remembered_in_bounds(
    keys: KeyService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(authentication, "MAX_REFUSED", 3)
    for n in range(5):
        with pytest.raises(Unauthorized, match="Incorrect API key") as caught:
            await keys.authenticate(f"onereel_wrong{n}")
        assert caught.value.code == "invalid_api_key"
    assert len(keys._authenticator._refused) == 3


async def test_a_revoked_key_fails_at_once_here_and_within_a_second_elsewhere(
    keys: KeyService, elsewhere: KeyService, operator: Principal, new_key: NewKey, time: FakeTime
):
    made = await new_key()
    for service in (keys, elsewhere):
        assert (await service.authenticate(made["value"])).key_id == made["id"]
    await keys.revoke_key(operator, operator.project_id, made["id"])
    with pytest.raises(Unauthorized, match="revoked"):
        await keys.authenticate(made["value"])
    time.seconds += 0.9
    assert (await elsewhere.authenticate(made["value"])).key_id == made["id"]
    time.seconds += 0.1
    with pytest.raises(Unauthorized, match="revoked"):
        await elsewhere.authenticate(made["value"])


async def test_changed_limits_hold_elsewhere_within_a_second(
    keys: KeyService, elsewhere: KeyService, operator: Principal, new_key: NewKey, time: FakeTime
):
    made = await new_key(requests_per_minute=5)
    await elsewhere.authenticate(made["value"])
    await keys.update_key(
        operator, operator.project_id, made["id"], KeyChanges.model_validate({"requests_per_minute": None})
    )
    time.seconds += 1
    assert (await elsewhere.authenticate(made["value"])).requests_per_minute is None


async def test_a_key_expires_on_time_even_inside_its_second_of_trust(
    keys: KeyService, new_key: NewKey, time: FakeTime
):
    made = await new_key(expires_at=int(time.seconds) + 2)
    time.seconds += 1.8
    await keys.authenticate(made["value"])
    time.seconds += 0.3
    with pytest.raises(Unauthorized, match="expired"):
        await keys.authenticate(made["value"])


async def test_keys_of_an_archived_project_fail(keys: KeyService, operator: Principal, time: FakeTime):
    project = await keys.create_project(operator, NameForm(name="Old"))
    made = await keys.create_key(operator, project["id"], KeyForm(name="k"))
    await keys.authenticate(made["value"])
    await keys.archive_project(operator, project["id"])
    with pytest.raises(Unauthorized, match="archived"):
        await keys.authenticate(made["value"])


async def test_many_tokens_of_one_moment_cost_one_query(
    db: Database, clock: Clock, settings: Settings, new_key: NewKey, time: FakeTime
):
    made = [await new_key() for _ in range(5)]
    counting = CountingDatabase(db)
    service = KeyService(counting, clock, settings)  # type: ignore[arg-type]  # __getattr__ is not seen
    principals = await asyncio.gather(*(service.authenticate(key["value"]) for key in made * 20))
    assert {principal.key_id for principal in principals} == {key["id"] for key in made}
    assert counting.reads == 1
    await asyncio.gather(*(service.authenticate(key["value"]) for key in made))
    assert counting.reads == 1
    time.seconds += 1
    await asyncio.gather(*(service.authenticate(key["value"]) for key in made))
    assert counting.reads == 2


async def test_many_calls_of_the_operator_cost_one_query(
    db: Database, clock: Clock, settings: Settings, time: FakeTime
):
    counting = CountingDatabase(db)
    service = KeyService(counting, clock, settings)  # type: ignore[arg-type]  # __getattr__ is not seen
    token = settings.admin_key.get_secret_value() if settings.admin_key else await service.bootstrap()
    await service.bootstrap()
    before = counting.reads
    for turn in (1, 2):
        await asyncio.gather(*(service.authenticate(str(token)) for _ in range(50)))
        assert counting.reads == before + turn
        time.seconds += 1
    counting.broken = True
    answers = await asyncio.gather(
        *(service.authenticate(str(token)) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Unavailable] * 3


async def test_a_cancelled_caller_takes_nobody_with_it(keys: KeyService, new_key: NewKey):
    made = await new_key()
    first = asyncio.create_task(keys.authenticate(made["value"]))
    second = asyncio.create_task(keys.authenticate(made["value"]))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).key_id == made["id"]


async def test_a_failing_database_is_a_503_and_the_next_call_recovers(
    db: Database, clock: Clock, settings: Settings, new_key: NewKey
):
    made = await new_key()
    counting = CountingDatabase(db)
    service = KeyService(counting, clock, settings)  # type: ignore[arg-type]  # __getattr__ is not seen
    counting.broken = True
    with pytest.raises(Unavailable):
        await service.authenticate(made["value"])
    counting.broken = False
    assert (await service.authenticate(made["value"])).key_id == made["id"]


async def test_only_the_operator_acts_in_another_project(
    keys: KeyService, operator: Principal, stranger: Principal, new_key: NewKey
):
    there = await keys.acting_in(operator, stranger.project_id)
    assert (there.organization_id, there.project_id) == (stranger.organization_id, stranger.project_id)
    assert there.scopes == operator.scopes
    caller = await keys.authenticate((await new_key())["value"])
    assert await keys.acting_in(caller, caller.project_id) == caller
    for principal, project_id in (
        (caller, stranger.project_id),
        (stranger, DEFAULT_PROJECT),
        (operator, "proj_no"),
    ):
        with pytest.raises(NotFound):
            await keys.acting_in(principal, project_id)


async def test_a_scope_of_a_later_release_gives_nothing(db: Database, keys: KeyService, new_key: NewKey):
    made = await new_key(scopes=["videos.read"])
    scopes = ["videos.read", "time.travel"]
    await db.write(
        lambda conn: (
            conn.execute(api_keys.update().where(api_keys.c.id == made["id"]).values(scopes=scopes)).rowcount
        )
    )
    assert (await keys.authenticate(made["value"])).scopes == {Scope.VIDEOS_READ}
