"""People, roles, invitations and sessions, on both databases."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.crypto import SecretBox, new_key
from gateway.db import Database
from gateway.errors import ApiError, BadRequest, Forbidden, NotFound
from gateway.keys.forms import NameForm, OrganizationForm
from gateway.keys.limits import RequestLimits
from gateway.keys.service import DEFAULT_ORGANIZATION, DEFAULT_PROJECT, KeyService, operator_principal
from gateway.members.forms import AccountForm, InvitationForm, RoleForm, SignInForm
from gateway.members.invitations import LIFETIME_MS, Invitations
from gateway.members.passwords import Passwords
from gateway.members.recovery import recovery_token
from gateway.members.roles import SCOPES, Role, may_manage
from gateway.members.service import MemberService
from gateway.members.sessions import Client, Sessions, Visitor
from gateway.principal import Scope
from gateway.settings import Settings

pytestmark = pytest.mark.anyio
PASSWORD = "a good long password"


class Later(Clock):
    """A wall clock that can be put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.by_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.by_ms


@dataclass
class House:
    """Everything about people, on one database."""

    clock: Later
    keys: KeyService
    sessions: Sessions
    members: MemberService
    invitations: Invitations
    box: SecretBox

    async def account(self, token: str, email: str, name: str = "Somebody") -> Visitor:
        form = AccountForm(name=name, email=email, password=PASSWORD)
        return await self.enter(await self.invitations.create_account(token, form))

    async def enter(self, user_id: str) -> Visitor:
        visitor = await self.sessions.visitor(
            await self.sessions.open(user_id, Client("127.0.0.1", "a browser"))
        )
        assert visitor is not None
        return visitor

    async def first(self) -> Visitor:
        token = await self.invitations.first_visit()
        assert token is not None
        return await self.account(token, "owner@example.com", "Owner")

    async def invited(self, by: Visitor, role: Role, email: str | None = None) -> Visitor:
        token = await self.invitations.invite(by, InvitationForm(role=role))
        return await self.account(token, email or f"{role}@example.com")


@pytest.fixture
async def house(db: Database, tmp_path: Path) -> House:
    settings, clock = Settings(data_dir=tmp_path, admin_key="k" * 40), Later()
    keys = KeyService(db, clock, settings)
    await keys.bootstrap()
    passwords, limits, box = Passwords(), RequestLimits(settings), SecretBox([new_key()])
    return House(
        clock,
        keys,
        Sessions(db, clock, keys),
        MemberService(db, clock, limits, passwords),
        Invitations(db, clock, box, passwords),
        box,
    )


async def test_of_two_first_visits_at_once_one_makes_the_owner(house: House) -> None:
    token = await house.invitations.first_visit()
    assert token is not None
    answers = await asyncio.gather(
        house.account(token, "one@example.com"),
        house.account(token, "two@example.com"),
        return_exceptions=True,
    )
    made = [each for each in answers if isinstance(each, Visitor)]
    assert len(made) == 1, answers
    assert (made[0].role, made[0].operator) == (Role.OWNER, True)
    assert sum(isinstance(each, NotFound) for each in answers) == 1
    assert await house.invitations.first_visit() is None


async def test_an_invitation_is_used_once_however_many_use_it_at_once(house: House) -> None:
    owner = await house.first()
    token = await house.invitations.invite(owner, InvitationForm(role=Role.VIEWER))
    answers = await asyncio.gather(
        *(house.account(token, f"{n}@example.com") for n in range(4)), return_exceptions=True
    )
    assert sum(isinstance(each, Visitor) for each in answers) == 1, answers
    assert len(await house.members.list(owner)) == 2


async def test_of_two_accounts_with_one_address_at_once_one_is_made(house: House) -> None:
    owner = await house.first()
    tokens = [await house.invitations.invite(owner, InvitationForm(role=Role.VIEWER)) for _ in range(4)]
    answers = await asyncio.gather(
        *(house.account(token, "same@example.com") for token in tokens), return_exceptions=True
    )
    assert sum(isinstance(each, Visitor) for each in answers) == 1, answers
    refused = [each for each in answers if not isinstance(each, Visitor)]
    assert {getattr(each, "code", repr(each)) for each in refused} == {"account_exists"}


async def test_a_way_back_in_is_used_once_however_many_use_it_at_once(house: House) -> None:
    owner = await house.first()
    token = recovery_token(house.box, owner.email, house.clock.now_ms())
    answers = await asyncio.gather(
        *(house.invitations.choose_password(token, f"{PASSWORD} {n}") for n in range(4)),
        return_exceptions=True,
    )
    assert answers.count(owner.user_id) == 1, answers
    assert sum(isinstance(each, NotFound) for each in answers) == 3, answers


async def test_an_invitation_ends_after_a_week(house: House) -> None:
    owner = await house.first()
    token = await house.invitations.invite(owner, InvitationForm(role=Role.VIEWER))
    house.clock.by_ms = LIFETIME_MS + 1
    with pytest.raises(NotFound):
        await house.invitations.find(token)
    with pytest.raises(NotFound):
        await house.account(token, "late@example.com")
    assert await house.invitations.list(owner) == []


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_opens_what_it_says(house: House, role: Role) -> None:
    owner = await house.first()
    member = await house.invited(owner, role, "somebody@example.com")
    assert member.principal.scopes == SCOPES[role]
    assert member.principal.key_id == member.user_id
    assert member.principal.organization_id == DEFAULT_ORGANIZATION
    assert not member.may(Scope.OPERATOR)
    assert member.may(Scope.BILLING_WRITE) == (role in (Role.OWNER, Role.BILLING))
    assert member.may(Scope.ORGANIZATION) == (role in (Role.OWNER, Role.ADMIN))
    assert member.may(Scope.VIDEOS_WRITE) == (role in (Role.OWNER, Role.ADMIN, Role.DEVELOPER))


async def test_nobody_gives_a_role_above_the_own_one(house: House) -> None:
    owner = await house.first()
    admin = await house.invited(owner, Role.ADMIN)
    with pytest.raises(Forbidden):
        await house.invitations.invite(admin, InvitationForm(role=Role.OWNER))
    with pytest.raises(Forbidden):
        await house.members.change_role(admin, owner.user_id, RoleForm(role=Role.VIEWER))
    with pytest.raises(Forbidden):
        await house.members.change_role(admin, admin.user_id, RoleForm(role=Role.OWNER))
    with pytest.raises(Forbidden):
        await house.members.remove(admin, owner.user_id)
    with pytest.raises(Forbidden):
        await house.invitations.password_link(admin, owner.user_id)
    assert not any(
        may_manage(role, each) for role in (Role.DEVELOPER, Role.BILLING, Role.VIEWER) for each in Role
    )


async def test_there_is_always_an_owner_even_if_two_leave_at_once(house: House) -> None:
    owner = await house.first()
    with pytest.raises(BadRequest, match="needs an owner"):
        await house.members.remove(owner, owner.user_id)
    with pytest.raises(BadRequest, match="needs an owner"):
        await house.members.change_role(owner, owner.user_id, RoleForm(role=Role.VIEWER))
    other = await house.invited(owner, Role.OWNER, "other@example.com")
    answers = await asyncio.gather(
        house.members.remove(owner, owner.user_id),
        house.members.remove(other, other.user_id),
        return_exceptions=True,
    )
    assert sum(isinstance(each, BadRequest) for each in answers) == 1, answers


async def test_a_removed_member_has_no_session_and_cannot_sign_in(house: House) -> None:
    owner = await house.first()
    member = await house.invited(owner, Role.VIEWER)
    token = await house.sessions.open(member.user_id, Client())
    await house.members.remove(owner, member.user_id)
    assert await house.sessions.visitor(token) is None
    user_id = await house.members.sign_in(SignInForm(email="viewer@example.com", password=PASSWORD), Client())
    with pytest.raises(NotFound, match="no organization"):
        await house.sessions.open(user_id, Client())


async def test_people_see_the_projects_of_their_organizations_alone(house: House) -> None:
    owner = await house.first()
    by = operator_principal()
    acme = await house.keys.create_organization(by, OrganizationForm(name="Acme"))
    own = await house.keys.create_project(owner.principal, NameForm(name="Second"))
    member = await house.invited(owner, Role.VIEWER)
    assert {each["project_id"] for each in await house.sessions.places(member)} == {
        DEFAULT_PROJECT,
        own["id"],
    }
    with pytest.raises(NotFound):
        await house.sessions.turn_to(member, acme["default_project_id"])
    assert (await house.sessions.turn_to(member, own["id"])).project_name == "Second"
    assert acme["default_project_id"] in {each["project_id"] for each in await house.sessions.places(owner)}
    turned = await house.sessions.turn_to(owner, acme["default_project_id"])  # an operator looks everywhere
    assert turned.organization_name == "Acme"


async def test_one_person_in_two_organizations_has_a_role_in_each(house: House) -> None:
    owner = await house.first()
    acme = await house.keys.create_organization(operator_principal(), OrganizationForm(name="Acme"))
    member = await house.invited(owner, Role.VIEWER)
    there = await house.enter(owner.user_id)
    await house.sessions.turn_to(there, acme["default_project_id"])
    token = await house.sessions.open(owner.user_id, Client())
    first = await house.sessions.visitor(token)
    assert first is not None
    await house.sessions.turn_to(first, acme["default_project_id"])
    in_acme = await house.sessions.visitor(token)
    assert in_acme is not None
    invitation = await house.invitations.invite(in_acme, InvitationForm(role=Role.ADMIN))
    await house.invitations.join(invitation, member)
    with pytest.raises(ApiError):
        await house.invitations.join(invitation, member)
    cookie = await house.sessions.open(member.user_id, Client())
    now = await house.sessions.visitor(cookie)
    assert now is not None
    assert now.role == Role.VIEWER
    await house.sessions.turn_to(now, acme["default_project_id"])
    turned = await house.sessions.visitor(cookie)
    assert turned is not None
    assert (turned.role, turned.organization_id) == (Role.ADMIN, acme["id"])
    assert turned.principal.organization_id == acme["id"]
    assert [each["email"] for each in await house.members.list(turned)] == ["viewer@example.com"]


async def test_an_archived_project_is_left_for_another(house: House) -> None:
    owner = await house.first()
    second = await house.keys.create_project(owner.principal, NameForm(name="Second"))
    token = await house.sessions.open(owner.user_id, Client())
    visitor = await house.sessions.visitor(token)
    assert visitor is not None
    await house.sessions.turn_to(visitor, second["id"])
    await house.keys.archive_project(owner.principal, second["id"])
    visitor = await house.sessions.visitor(token)
    assert visitor is not None
    assert visitor.project_id == DEFAULT_PROJECT


async def test_the_operation_is_given_and_taken_by_another_operator_alone(house: House) -> None:
    owner = await house.first()
    member = await house.invited(owner, Role.VIEWER)
    with pytest.raises(Forbidden):
        await house.members.make_operator(member, owner.user_id, operator=False)
    with pytest.raises(Forbidden):
        await house.members.make_operator(owner, owner.user_id, operator=False)
    await house.members.make_operator(owner, member.user_id, operator=True)
    assert (await house.enter(member.user_id)).may(Scope.OPERATOR)
    other = await house.invited(owner, Role.OWNER, "second-owner@example.com")
    with pytest.raises(Forbidden):  # an owner of the organization is not above an operator's account
        await house.invitations.password_link(other, member.user_id)
