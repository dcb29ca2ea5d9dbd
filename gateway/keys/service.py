"""Organizations, projects and API keys: who may do what, and the first key of an installation."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from billing.ledger import Mode, open_balance
from billing.plans import UNLIMITED_PLAN
from billing.tables import budgets
from gateway.audit.notes import Caller, Of, caller
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.events import Hints
from gateway.idempotency.service import Claim, record
from gateway.ids import new_id
from gateway.keys import store
from gateway.keys.authentication import Authenticator, Terms
from gateway.keys.forms import KeyChanges, KeyForm, NameForm, OrganizationForm, budget_values
from gateway.keys.permission import maker, may_grant, only_made_by
from gateway.keys.plans import KnownPlans
from gateway.keys.store import PageQuery
from gateway.keys.tables import api_keys, organizations, projects
from gateway.keys.tokens import digest, new_token, redact
from gateway.keys.view import deleted_key, public_key, public_organization, public_project
from gateway.principal import Principal, Scope
from gateway.settings import Settings

DEFAULT_ORGANIZATION: Final = "org_default"
DEFAULT_PROJECT: Final = "proj_default"
OPERATOR_KEY: Final = "key_operator"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of public objects, and whether more follow."""

    data: list[Json]
    has_more: bool


def operator_principal() -> Principal:
    """Who holds ONEREEL_ADMIN_KEY: every scope, in the default organization and project, without limits."""
    return Principal(DEFAULT_ORGANIZATION, DEFAULT_PROJECT, OPERATOR_KEY, frozenset(Scope))


class KeyService:
    """One per process. Methods that take a `principal` check what it may do: Forbidden, or NotFound if foreign."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, hints: Hints | None = None) -> None:
        self._db = db
        self._clock = clock
        self._billing = settings.billing.mode
        self._plans = KnownPlans(settings.plans)
        terms = Terms(self._plans, settings.billing.margin)
        self._authenticator = Authenticator(db, clock, terms)
        self._hints = hints or Hints()
        self._hints.when_keys_change(self._authenticator.forget)
        self._admin_key = settings.admin_key.get_secret_value() if settings.admin_key else ""
        control_token = settings.control_token.get_secret_value() if settings.control_token else ""
        for token in filter(None, (self._admin_key, control_token)):
            self._authenticator.add_operator(token, operator_principal())

    async def authenticate(self, token: str) -> Principal:
        """Say who calls, by what was true at most a second ago. Unauthorized with the reason."""
        return await self._authenticator.authenticate(token)

    async def acting_in(self, principal: Principal, project_id: str) -> Principal:
        """Let an operator act in the project that X-Onereel-Project names. NotFound for everyone else."""
        return await self._authenticator.acting_in(principal, project_id)

    async def person(self, user_id: str, project_id: str, scopes: AbstractSet[Scope]) -> Principal:
        """Say who calls where a person acts in a project, on its organization's terms. NotFound for an unknown one."""
        return await self._authenticator.person(user_id, project_id, scopes)

    def forget(self) -> None:
        """Believe nothing any longer: what an organization may do has just changed here; every process hears of it."""
        self._hints.keys_changed()

    async def bootstrap(self) -> str | None:
        """Make the default organization, project and admin key on the first start; the key's value, that once.

        With ONEREEL_ADMIN_KEY set the operator already has a key, so no second secret is made.
        """
        token = None if self._admin_key else new_token()
        now = self._clock.now_ms()
        try:
            first = await self._db.write(lambda conn: _bootstrap(conn, token, now, self._billing))
        except IntegrityError:  # another process was first
            return None
        return token if first else None

    async def create_organization(
        self, principal: Principal, form: OrganizationForm, claim: Claim | None = None
    ) -> Json:
        """Make an organization with a project "Default" in it. Operator only."""
        principal.require(Scope.OPERATOR)
        now = self._clock.now_ms()
        plan, by = self._plans.named(form.plan or UNLIMITED_PLAN), caller(principal)

        def write(conn: Connection) -> Json:
            organization_id = _insert_organization(conn, new_id("org"), form.name, now, self._billing)
            conn.execute(
                update(organizations).where(organizations.c.id == organization_id).values(plan=plan.id)
            )
            project_id = _insert_project(conn, new_id("proj"), organization_id, "Default", now)
            row = conn.execute(select(organizations).where(organizations.c.id == organization_id)).one()
            answer = {**public_organization(row), "default_project_id": project_id}
            after = {**answer, "plan": plan.id}
            by.note(conn, "organization.created", row.id, Of(row.id), after=after)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def list_organizations(self, principal: Principal, page: PageQuery) -> Page:
        """All organizations. Operator only."""
        principal.require(Scope.OPERATOR)
        found = await self._db.read(lambda conn: store.list_organizations(conn, page))
        return Page([public_organization(row) for row in found.rows], found.has_more)

    async def create_project(self, principal: Principal, form: NameForm, claim: Claim | None = None) -> Json:
        """Make a project in the caller's organization."""
        principal.require(Scope.ORGANIZATION)
        now, by = self._clock.now_ms(), caller(principal)

        def write(conn: Connection) -> Json:
            project_id = _insert_project(conn, new_id("proj"), principal.organization_id, form.name, now)
            answer = public_project(store.project(conn, principal.organization_id, project_id))
            by.note(conn, "project.created", project_id, _of_project(answer), after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def list_projects(self, principal: Principal, page: PageQuery, *, archived: bool = False) -> Page:
        """Projects of the caller's organization."""
        principal.require(Scope.ORGANIZATION)
        organization_id = principal.organization_id
        found = await self._db.read(
            lambda conn: store.list_projects(conn, organization_id, page, archived=archived)
        )
        return Page([public_project(row) for row in found.rows], found.has_more)

    async def get_project(self, principal: Principal, project_id: str) -> Json:
        """One project of the caller's organization."""
        principal.require(Scope.ORGANIZATION)
        row = await self._db.read(lambda conn: store.project(conn, principal.organization_id, project_id))
        return public_project(row)

    async def rename_project(
        self, principal: Principal, project_id: str, form: NameForm, claim: Claim | None = None
    ) -> Json:
        """Give a project another name."""
        return await self._change_project(principal, project_id, {"name": form.name}, claim, "updated")

    async def archive_project(
        self, principal: Principal, project_id: str, claim: Claim | None = None
    ) -> Json:
        """Close a project for good: its keys fail within a second. BadRequest for the default project."""
        principal.require(Scope.ORGANIZATION)
        if project_id == DEFAULT_PROJECT and principal.organization_id == DEFAULT_ORGANIZATION:
            raise BadRequest("The default project cannot be archived.", param="project_id")
        archived = {"archived_at": self._clock.now_ms()}
        return await self._change_project(principal, project_id, archived, claim, "archived")

    async def create_key(
        self, principal: Principal, project_id: str, form: KeyForm, claim: Claim | None = None
    ) -> Json:
        """Make a key; the answer carries its `value`, which is shown this once.

        A replay under the same Idempotency-Key has `value` null: the secret is never stored.
        """
        only_made_by(principal)
        may_grant(principal, form.scopes)
        now = self._clock.now_ms()
        _in_future(form.expires_at, now)
        token, by = new_token(), caller(principal)

        def write(conn: Connection) -> Json:
            store.live_project(conn, principal.organization_id, project_id)
            key_id = _insert_key(
                conn, principal.organization_id, project_id, token, form, now, maker(principal)
            )
            if form.budget is not None:
                own = {"scope": "key", "scope_id": key_id}
                values = budget_values(new_id("bud"), principal.organization_id, form.budget, now)
                conn.execute(insert(budgets).values(**values, **own))
            answer = public_key(store.key(conn, project_id, key_id))
            budget = None if form.budget is None else form.budget.model_dump(mode="json")
            after = {**answer, "budget": budget}
            by.note(conn, "api_key.created", key_id, _of_key(principal, answer), after=after)
            record(conn, claim, 200, {**answer, "value": None}, now)
            return {**answer, "value": token}

        return await self._db.write(write)

    async def list_keys(self, principal: Principal, project_id: str, page: PageQuery) -> Page:
        """Keys of a project that the caller may see, redacted; revoked ones are gone."""
        made_by = only_made_by(principal)

        def read(conn: Connection) -> store.PageRows:
            store.project(conn, principal.organization_id, project_id)
            return store.list_keys(conn, project_id, page, made_by=made_by)

        found = await self._db.read(read)
        return Page([public_key(row) for row in found.rows], found.has_more)

    async def names(self, organization_id: str | None, ids: Sequence[str]) -> dict[str, str]:
        """Give the names of an organization's keys and projects, and its own, by id, also of what has ended; None: of every
        organization. Others are left out."""
        return await self._db.read(lambda conn: store.names(conn, organization_id, ids))

    async def get_key(self, principal: Principal, project_id: str, key_id: str) -> Json:
        """One key, redacted."""
        made_by = only_made_by(principal)

        def read(conn: Connection) -> store.AnyRow:
            store.project(conn, principal.organization_id, project_id)
            return store.key(conn, project_id, key_id, made_by=made_by)

        return public_key(await self._db.read(read))

    async def update_key(
        self,
        principal: Principal,
        project_id: str,
        key_id: str,
        changes: KeyChanges,
        claim: Claim | None = None,
    ) -> Json:
        """Change the fields that were sent; the new limits hold within a second in every process."""
        principal.require(Scope.ORGANIZATION)
        now = self._clock.now_ms()
        _in_future(changes.expires_at, now)
        values, by = _changed_columns(changes), caller(principal)

        def write(conn: Connection) -> Json:
            row = _managed_key(conn, principal, project_id, key_id)
            may_grant(principal, (changes.scopes or frozenset()) - set(row.scopes))
            before = public_key(row)
            if values:
                conn.execute(update(api_keys).where(api_keys.c.id == key_id).values(values))
            answer = public_key(store.key(conn, project_id, key_id))
            by.note(conn, "api_key.updated", key_id, _of_key(principal, answer), before=before, after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._changed(write)

    async def revoke_key(self, principal: Principal, project_id: str, key_id: str) -> Json:
        """End a key for good: it fails within a second in every process, at once in this one."""
        made_by = only_made_by(principal)
        now, by = self._clock.now_ms(), caller(principal)

        def write(conn: Connection) -> Json:
            before = public_key(_managed_key(conn, principal, project_id, key_id, made_by))
            conn.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=now))
            by.note(conn, "api_key.deleted", key_id, _of_key(principal, before), before=before)
            return deleted_key(key_id)

        return await self._changed(write)

    async def _change_project(
        self, principal: Principal, project_id: str, values: Json, claim: Claim | None, event: str
    ) -> Json:
        principal.require(Scope.ORGANIZATION)
        now, by = self._clock.now_ms(), caller(principal)

        def write(conn: Connection) -> Json:
            before = public_project(store.live_project(conn, principal.organization_id, project_id))
            conn.execute(update(projects).where(projects.c.id == project_id).values(values))
            answer = public_project(store.project(conn, principal.organization_id, project_id))
            by.note(conn, f"project.{event}", project_id, _of_project(answer), before=before, after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._changed(write)

    async def _changed(self, write: Callable[[Connection], Json]) -> Json:
        try:
            return await self._db.write(write)
        finally:
            self.forget()


def _bootstrap(conn: Connection, token: str | None, now: int, billing: Mode) -> bool:
    if conn.execute(select(organizations.c.id).where(organizations.c.id == DEFAULT_ORGANIZATION)).first():
        return False
    _insert_organization(conn, DEFAULT_ORGANIZATION, "Default", now, billing)
    _insert_project(conn, DEFAULT_PROJECT, DEFAULT_ORGANIZATION, "Default", now)
    if token is not None:
        form = KeyForm(name="admin", scopes=frozenset(Scope))
        key_id = _insert_key(conn, DEFAULT_ORGANIZATION, DEFAULT_PROJECT, token, form, now)
        of = Of(DEFAULT_ORGANIZATION, DEFAULT_PROJECT)
        Caller().note(
            conn, "api_key.created", key_id, of, after=public_key(store.key(conn, DEFAULT_PROJECT, key_id))
        )
    return True


def _insert_organization(conn: Connection, organization_id: str, name: str, now: int, billing: Mode) -> str:
    conn.execute(insert(organizations).values(id=organization_id, name=name, created_at=now))
    open_balance(conn, organization_id, billing)
    return organization_id


def _insert_project(conn: Connection, project_id: str, organization_id: str, name: str, now: int) -> str:
    values = {"id": project_id, "organization_id": organization_id, "name": name, "created_at": now}
    conn.execute(insert(projects).values(values))
    return project_id


def _insert_key(  # noqa: PLR0917  (one row's parts)
    conn: Connection,
    organization_id: str,
    project_id: str,
    token: str,
    form: KeyForm,
    now: int,
    made_by: str | None = None,
) -> str:
    key_id = new_id("key")
    conn.execute(
        insert(api_keys).values(
            id=key_id,
            organization_id=organization_id,
            project_id=project_id,
            name=form.name,
            hash=digest(token),
            redacted_value=redact(token),
            scopes=sorted(form.scopes),
            models=None if form.models is None else sorted(form.models),
            requests_per_minute=form.requests_per_minute,
            concurrent_videos=form.concurrent_videos,
            created_at=now,
            expires_at=None if form.expires_at is None else form.expires_at * 1000,
            created_by=made_by,
        )
    )
    return key_id


def _of_project(project: Json) -> Of:
    return Of(project["organization_id"], project["id"])


def _of_key(principal: Principal, key: Json) -> Of:
    return Of(principal.organization_id, key["project_id"])


def _managed_key(
    conn: Connection, principal: Principal, project_id: str, key_id: str, made_by: str | None = None
) -> store.AnyRow:
    """Read a key that the caller may change. NotFound if foreign, Forbidden for an operator's key."""
    store.live_project(conn, principal.organization_id, project_id)
    row = store.key(conn, project_id, key_id, made_by=made_by)
    if Scope.OPERATOR in row.scopes:
        principal.require(Scope.OPERATOR)
    return row


def _in_future(expires_at: int | None, now_ms: int) -> None:
    if expires_at is not None and expires_at * 1000 <= now_ms:
        raise BadRequest("'expires_at' must be a time to come, in Unix seconds.", param="expires_at")


def _changed_columns(changes: KeyChanges) -> Json:
    sent = changes.model_dump(include=changes.model_fields_set)
    for field in ("name", "scopes"):
        if field in sent and sent[field] is None:
            raise BadRequest(f"'{field}' cannot be null; leave it out to keep it.", param=field)
    for field in ("scopes", "models"):
        if sent.get(field) is not None:
            sent[field] = sorted(sent[field])
    if sent.get("expires_at") is not None:
        sent["expires_at"] *= 1000
    return sent
