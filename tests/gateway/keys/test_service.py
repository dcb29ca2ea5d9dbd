"""Who may make, see, change and end what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db import Database
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.idempotency.service import Claim, find
from gateway.keys.forms import BudgetLimit, KeyChanges, KeyForm, NameForm, OrganizationForm, parse
from gateway.keys.service import DEFAULT_PROJECT, KeyService
from gateway.keys.store import PageQuery
from gateway.principal import DEFAULT_SCOPES, Principal, Scope
from tests.gateway.keys.conftest import FakeTime, NewKey


async def test_a_key_is_shown_once_and_redacted_afterwards(
    keys: KeyService, operator: Principal, new_key: NewKey
):
    made = await new_key(name="  ci  ")
    assert made["value"].startswith("onereel_")
    assert len(made["value"]) >= 51
    assert (made["name"], made["scopes"]) == ("ci", sorted(DEFAULT_SCOPES))
    read = await keys.get_key(operator, operator.project_id, made["id"])
    assert "value" not in read
    assert read == {name: value for name, value in made.items() if name != "value"}


async def test_pages_walk_a_list_in_both_directions(keys: KeyService, operator: Principal, new_key: NewKey):
    made = [(await new_key(name=f"k{n}"))["id"] for n in range(5)]
    for descending in (False, True):
        seen: list[str] = []
        more = True
        while more:
            page = await keys.list_keys(
                operator, DEFAULT_PROJECT, PageQuery(2, seen[-1] if seen else None, descending)
            )
            seen += [key["id"] for key in page.data]
            more = page.has_more
        ours = [key_id for key_id in seen if key_id in made]
        assert ours == (made[::-1] if descending else made)
    with pytest.raises(BadRequest, match="key_unknown"):
        await keys.list_keys(operator, DEFAULT_PROJECT, PageQuery(after="key_unknown"))


async def test_a_change_touches_only_what_was_sent_and_null_lifts_a_limit(
    keys: KeyService, operator: Principal, new_key: NewKey, time: FakeTime
):
    made = await new_key(models=["a"], requests_per_minute=3, concurrent_videos=4)
    changes = parse(
        KeyChanges, {"models": None, "requests_per_minute": 9, "expires_at": int(time.seconds) + 60}
    )
    changed = await keys.update_key(operator, DEFAULT_PROJECT, made["id"], changes)
    assert (changed["models"], changed["requests_per_minute"], changed["concurrent_videos"]) == (None, 9, 4)
    assert changed["expires_at"] == int(time.seconds) + 60
    assert changed["scopes"] == made["scopes"]
    for field in ("name", "scopes"):
        with pytest.raises(BadRequest) as caught:
            await keys.update_key(operator, DEFAULT_PROJECT, made["id"], parse(KeyChanges, {field: None}))
        assert caught.value.param == field


async def test_a_revoked_key_is_gone(keys: KeyService, operator: Principal, new_key: NewKey):
    made = await new_key()
    answer = await keys.revoke_key(operator, DEFAULT_PROJECT, made["id"])
    assert answer == {"id": made["id"], "object": "organization.project.api_key.deleted", "deleted": True}
    listed = await keys.list_keys(operator, DEFAULT_PROJECT, PageQuery())
    assert made["id"] not in [key["id"] for key in listed.data]
    with pytest.raises(NotFound):
        await keys.get_key(operator, DEFAULT_PROJECT, made["id"])
    with pytest.raises(NotFound):
        await keys.revoke_key(operator, DEFAULT_PROJECT, made["id"])


async def test_another_organization_does_not_exist(keys: KeyService, stranger: Principal, new_key: NewKey):
    made = await new_key()
    page = PageQuery()
    for attempt in (
        keys.get_project(stranger, DEFAULT_PROJECT),
        keys.rename_project(stranger, DEFAULT_PROJECT, NameForm(name="mine")),
        keys.create_key(stranger, DEFAULT_PROJECT, KeyForm(name="k")),
        keys.list_keys(stranger, DEFAULT_PROJECT, page),
        keys.get_key(stranger, DEFAULT_PROJECT, made["id"]),
        keys.get_key(stranger, stranger.project_id, made["id"]),
        keys.update_key(stranger, stranger.project_id, made["id"], KeyChanges(name="x")),
        keys.revoke_key(stranger, DEFAULT_PROJECT, made["id"]),
        keys.revoke_key(stranger, stranger.project_id, made["id"]),
    ):
        with pytest.raises(NotFound):
            await attempt
    projects = await keys.list_projects(stranger, page)
    assert [project["id"] for project in projects.data] == [stranger.project_id]


async def test_an_organization_admin_manages_its_own_and_nothing_above(keys: KeyService, stranger: Principal):
    project = await keys.create_project(stranger, NameForm(name="Films"))
    made = await keys.create_key(
        stranger, project["id"], KeyForm(name="k", scopes=frozenset({Scope.VIDEOS_READ}))
    )
    assert (await keys.authenticate(made["value"])).project_id == project["id"]
    for attempt in (
        keys.create_organization(stranger, OrganizationForm(name="x")),
        keys.list_organizations(stranger, PageQuery()),
        keys.create_key(stranger, project["id"], KeyForm(name="k", scopes=frozenset({Scope.OPERATOR}))),
        keys.update_key(stranger, project["id"], made["id"], KeyChanges(scopes=frozenset({Scope.OPERATOR}))),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_an_organization_admin_cannot_touch_the_operators_key(
    keys: KeyService, operator: Principal, new_key: NewKey
):
    above = await new_key(scopes=["operator"])
    below = await keys.authenticate((await new_key(scopes=["organization"]))["value"])
    for attempt in (
        keys.revoke_key(below, DEFAULT_PROJECT, above["id"]),
        keys.update_key(below, DEFAULT_PROJECT, above["id"], KeyChanges(requests_per_minute=1)),
    ):
        with pytest.raises(Forbidden):
            await attempt
    await keys.revoke_key(operator, DEFAULT_PROJECT, above["id"])


async def test_a_plain_key_manages_nothing(keys: KeyService, new_key: NewKey):
    made = await new_key()
    plain = await keys.authenticate(made["value"])
    for attempt in (
        keys.create_project(plain, NameForm(name="x")),
        keys.list_projects(plain, PageQuery()),
        keys.get_project(plain, DEFAULT_PROJECT),
        keys.archive_project(plain, plain.project_id + "x"),
        keys.create_key(plain, DEFAULT_PROJECT, KeyForm(name="k")),
        keys.list_keys(plain, DEFAULT_PROJECT, PageQuery()),
        keys.get_key(plain, DEFAULT_PROJECT, made["id"]),
        keys.update_key(plain, DEFAULT_PROJECT, made["id"], KeyChanges(name="x")),
        keys.revoke_key(plain, DEFAULT_PROJECT, made["id"]),
    ):
        with pytest.raises(Forbidden) as caught:
            await attempt
        assert caught.value.code == "missing_scope"


async def test_archived_projects_are_closed_and_hidden(keys: KeyService, operator: Principal):
    project = await keys.create_project(operator, NameForm(name="Old"))
    archived = await keys.archive_project(operator, project["id"])
    assert archived["status"] == "archived"
    assert archived["archived_at"] is not None
    listed = [p["id"] for p in (await keys.list_projects(operator, PageQuery())).data]
    assert project["id"] not in listed
    everything = await keys.list_projects(operator, PageQuery(), archived=True)
    assert project["id"] in [p["id"] for p in everything.data]
    for attempt in (
        keys.create_key(operator, project["id"], KeyForm(name="k")),
        keys.archive_project(operator, project["id"]),
        keys.archive_project(operator, DEFAULT_PROJECT),
    ):
        with pytest.raises(BadRequest):
            await attempt


async def test_a_stored_answer_never_holds_the_secret(db: Database, keys: KeyService, operator: Principal):
    claim = Claim(operator.project_id, "POST", "/v1/organization/projects/p/api_keys", "once", "0" * 64)
    made = await keys.create_key(operator, DEFAULT_PROJECT, KeyForm(name="k"), claim)
    stored = await db.read(lambda conn: find(conn, claim, 0))
    assert stored == (200, {**made, "value": None})


async def test_an_expiry_in_the_past_is_refused(keys: KeyService, new_key: NewKey, time: FakeTime):
    with pytest.raises(BadRequest) as caught:
        await new_key(expires_at=int(time.seconds))
    assert caught.value.param == "expires_at"


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({}, "name", "Missing"),
        ({"name": ""}, "name", "at least 1"),
        ({"name": "x" * 201}, "name", "at most 200"),
        ({"name": "k", "scopes": ["videos.watch"]}, "scopes[0]", "videos.read"),
        ({"name": "k", "scopes": []}, "scopes", "at least 1"),
        ({"name": "k", "scopes": "videos.read"}, "scopes", "valid"),
        ({"name": "k", "models": "a"}, "models", "valid"),
        ({"name": "k", "requests_per_minute": 0}, "requests_per_minute", "greater than or equal to 1"),
        ({"name": "k", "requests_per_minute": True}, "requests_per_minute", "whole number"),
        ({"name": "k", "requests_per_minute": "fast"}, "requests_per_minute", "integer"),
        ({"name": "k", "concurrent_videos": 1.5}, "concurrent_videos", "integer"),
        ({"name": "k", "expires_at": "tomorrow"}, "expires_at", "integer"),
        ({"name": "k", "budget": 5}, "budget", "must be an object"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], param: str, says: str):
    with pytest.raises(BadRequest, match=says) as caught:
        parse(KeyForm, fields)
    assert caught.value.param == param


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"name": st.just("k") | json_values},
        optional=dict.fromkeys(("x", *(set(KeyForm.model_fields) - {"name"})), json_values),
    )
)
def test_any_json_is_either_a_form_or_a_400_naming_a_field(fields: dict[str, Any]):
    param = "none"
    try:
        assert parse(KeyForm, fields).scopes <= set(Scope)
    except BadRequest as error:
        param = error.param or ""
    assert param


@pytest.mark.parametrize("seconds", [-5.4e196, 1e300, "1e999999", "NaN", "inf", "0.0001", True])
def test_a_number_of_seconds_that_is_none_is_refused(seconds: Any):
    with pytest.raises(BadRequest) as caught:
        parse(BudgetLimit, {"seconds": seconds})
    assert caught.value.param == "seconds"
