"""A person who does not manage the organization: own keys only, and never more than that person may do."""

import asyncio
from dataclasses import replace

import pytest

from gateway.audit.service import AuditService, Wanted
from gateway.db import Database
from gateway.errors import Forbidden, NotFound
from gateway.keys.forms import KeyChanges, KeyForm, NameForm, parse
from gateway.keys.last_use import STEP_MS
from gateway.keys.permission import PERSONAL_SCOPES, grantable
from gateway.keys.service import DEFAULT_PROJECT, KeyService
from gateway.keys.store import PageQuery
from gateway.principal import DEFAULT_SCOPES, Principal, Scope
from tests.gateway.keys.conftest import FakeTime, NewKey

OF_DEVELOPERS = frozenset((*DEFAULT_SCOPES, Scope.WEBHOOKS, Scope.USAGE_READ))
PAGE = PageQuery(100, None, True)


@pytest.fixture
def developer(operator: Principal) -> Principal:
    return replace(operator, key_id="user_ada", scopes=OF_DEVELOPERS)


@pytest.fixture
def colleague(developer: Principal) -> Principal:
    return replace(developer, key_id="user_bob")


@pytest.fixture
def admin(developer: Principal) -> Principal:
    return replace(developer, key_id="user_root", scopes=OF_DEVELOPERS | {Scope.ORGANIZATION})


def form(*scopes: Scope) -> KeyForm:
    return KeyForm(name="mine", scopes=frozenset(scopes or DEFAULT_SCOPES))


async def ids(keys: KeyService, who: Principal) -> set[str]:
    return {key["id"] for key in (await keys.list_keys(who, DEFAULT_PROJECT, PAGE)).data}


async def test_developers_see_and_end_the_keys_they_made_and_no_others(
    keys: KeyService, developer: Principal, colleague: Principal, admin: Principal, new_key: NewKey
):
    foreign = await new_key()
    own = await keys.create_key(developer, DEFAULT_PROJECT, form())
    other = await keys.create_key(colleague, DEFAULT_PROJECT, form())
    assert (own["created_by"], foreign["created_by"]) == ("user_ada", None)
    assert await ids(keys, developer) == {own["id"]}
    assert await ids(keys, admin) >= {own["id"], other["id"], foreign["id"]}
    assert (await keys.get_key(developer, DEFAULT_PROJECT, own["id"]))["id"] == own["id"]
    for hidden in (foreign, other):
        with pytest.raises(NotFound):
            await keys.get_key(developer, DEFAULT_PROJECT, hidden["id"])
        with pytest.raises(NotFound):
            await keys.revoke_key(developer, DEFAULT_PROJECT, hidden["id"])
    assert (await keys.authenticate(own["value"])).key_id == own["id"]
    await keys.revoke_key(developer, DEFAULT_PROJECT, own["id"])
    assert await ids(keys, developer) == set()
    assert other["id"] in await ids(keys, admin)


async def test_a_cursor_of_a_colleagues_key_is_unknown(
    keys: KeyService, developer: Principal, colleague: Principal
):
    other = await keys.create_key(colleague, DEFAULT_PROJECT, form())
    with pytest.raises(Exception, match="No entry of this list"):
        await keys.list_keys(developer, DEFAULT_PROJECT, PageQuery(10, other["id"], True))


@pytest.mark.parametrize("scope", sorted(frozenset(Scope) - PERSONAL_SCOPES))
async def test_no_scope_beyond_the_personal_ones(keys: KeyService, developer: Principal, scope: Scope):
    """Not even one that the person has."""
    rich = replace(developer, scopes=developer.scopes | ({scope} - {Scope.ORGANIZATION, Scope.OPERATOR}))
    for who in (developer, rich):
        with pytest.raises(Forbidden) as caught:
            await keys.create_key(who, DEFAULT_PROJECT, form(Scope.VIDEOS_READ, scope))
        assert caught.value.param == "scopes"


async def test_no_scope_that_the_person_lacks(keys: KeyService, developer: Principal):
    poor = replace(developer, scopes=frozenset({Scope.VIDEOS_READ, Scope.VIDEOS_WRITE}))
    assert grantable(poor) == {Scope.VIDEOS_READ, Scope.VIDEOS_WRITE}
    with pytest.raises(Forbidden, match=r"'files.read', 'files.write'"):
        await keys.create_key(poor, DEFAULT_PROJECT, form())
    made = await keys.create_key(poor, DEFAULT_PROJECT, form(Scope.VIDEOS_READ))
    assert made["scopes"] == ["videos.read"]


async def test_developers_change_no_key_and_no_project(keys: KeyService, developer: Principal):
    own = await keys.create_key(developer, DEFAULT_PROJECT, form())
    changes = parse(KeyChanges, {"scopes": ["videos.read", "organization"]})
    for refused in (
        keys.update_key(developer, DEFAULT_PROJECT, own["id"], changes),
        keys.update_key(developer, DEFAULT_PROJECT, own["id"], parse(KeyChanges, {"name": "x"})),
        keys.rename_project(developer, DEFAULT_PROJECT, NameForm(name="x")),
        keys.archive_project(developer, DEFAULT_PROJECT),
        keys.create_project(developer, NameForm(name="x")),
    ):
        with pytest.raises(Forbidden):
            await refused


async def test_administrators_give_no_more_than_they_have_but_keep_what_a_key_has(
    keys: KeyService, admin: Principal, new_key: NewKey
):
    rich = await new_key(scopes=["videos.read", "billing.write"])
    with pytest.raises(Forbidden, match=r"'billing.write'"):
        await keys.create_key(admin, DEFAULT_PROJECT, form(Scope.BILLING_WRITE))
    poor = await new_key()
    more = parse(KeyChanges, {"scopes": ["videos.read", "billing.write"]})
    with pytest.raises(Forbidden, match=r"'billing.write'"):
        await keys.update_key(admin, DEFAULT_PROJECT, poor["id"], more)
    kept = parse(KeyChanges, {"scopes": ["videos.read", "videos.write", "billing.write"]})
    changed = await keys.update_key(admin, DEFAULT_PROJECT, rich["id"], kept)
    assert changed["scopes"] == ["billing.write", "videos.read", "videos.write"]


async def test_nobody_else_makes_keys(keys: KeyService, developer: Principal):
    """A viewer, somebody of the accounts, and a key itself: it has the scopes of a developer, but is nobody."""
    viewer = replace(developer, scopes=frozenset({Scope.VIDEOS_READ, Scope.USAGE_READ}))
    billing = replace(developer, scopes=frozenset({Scope.BILLING_READ, Scope.BILLING_WRITE}))
    key = replace(developer, key_id="key_of_a_program")
    for who in (viewer, billing, key):
        for refused in (
            keys.create_key(who, DEFAULT_PROJECT, form(Scope.VIDEOS_READ)),
            keys.list_keys(who, DEFAULT_PROJECT, PAGE),
            keys.get_key(who, DEFAULT_PROJECT, "key_x"),
            keys.revoke_key(who, DEFAULT_PROJECT, "key_x"),
        ):
            with pytest.raises(Forbidden):
                await refused


async def test_a_project_of_others_does_not_exist_for_a_developer(
    keys: KeyService, developer: Principal, stranger: Principal
):
    for refused in (
        keys.create_key(developer, stranger.project_id, form()),
        keys.list_keys(developer, stranger.project_id, PAGE),
        keys.revoke_key(developer, stranger.project_id, "key_x"),
    ):
        with pytest.raises(NotFound):
            await refused


async def test_what_a_person_does_is_noted_under_that_person(
    keys: KeyService, db: Database, developer: Principal, operator: Principal
):
    own = await keys.create_key(developer, DEFAULT_PROJECT, form())
    found = await AuditService(db).list(operator, Wanted(1, lists={"object_id": [own["id"]]}))
    assert found.data[0]["actor"]["session"]["user"]["id"] == "user_ada"
    assert found.data[0]["api_key.created"]["data"]["created_by"] == "user_ada"


async def test_the_last_use_of_a_key_is_noted_and_not_at_every_request(
    keys: KeyService, operator: Principal, new_key: NewKey, time: FakeTime
):
    made = await new_key()
    idle = await new_key(name="idle")

    async def used() -> int | None:
        await asyncio.sleep(0.05)
        return (await keys.get_key(operator, DEFAULT_PROJECT, made["id"]))["last_used_at"]

    assert await used() is None
    await keys.authenticate(made["value"])
    first = await used()
    assert first == int(time.seconds)
    time.seconds += 10
    await keys.authenticate(made["value"])
    assert await used() == first
    time.seconds += STEP_MS / 1000
    await keys.authenticate(made["value"])
    assert await used() == int(time.seconds)
    assert (await keys.get_key(operator, DEFAULT_PROJECT, idle["id"]))["last_used_at"] is None
