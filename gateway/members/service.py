"""The people of an organization: who they are, what they may do, and how they sign in with a password."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, update

from gateway.audit.notes import Of, caller
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.keys.limits import RequestLimits
from gateway.members import store
from gateway.members.forms import PasswordForm, RoleForm, SignInForm
from gateway.members.passwords import Passwords
from gateway.members.roles import Role, may_manage
from gateway.members.sessions import Client, Visitor
from gateway.members.tables import memberships, users

Json = dict[str, Any]


class MemberService:
    """Every method acts in the visitor's present organization. Raises ApiError."""

    def __init__(self, db: Database, clock: Clock, limits: RequestLimits, passwords: Passwords) -> None:
        self._db = db
        self._clock = clock
        self._limits = limits
        self._passwords = passwords

    async def sign_in(self, form: SignInForm, client: Client) -> str:
        """Check e-mail and password: the person's id. BadRequest when they do not fit, RateLimited after many tries."""
        await self._limits.sign_in(form.email, client.ip_address)
        user = await self._db.read(lambda conn: store.user_by_email(conn, form.email))
        right = await self._passwords.matches(user.password_hash if user else None, form.password)
        if user is None or not right:
            raise BadRequest(
                "E-mail address and password do not fit together.", param="password", code="wrong_password"
            )
        return str(user.id)

    async def change_password(self, visitor: Visitor, form: PasswordForm) -> None:
        """Take a new password from somebody who knows the old one. The caller ends the other sessions."""
        await self._limits.sign_in(visitor.email, None)
        user = await self._db.read(lambda conn: store.user_by_id(conn, visitor.user_id))
        known = user is not None and user.password_hash
        if known and not await self._passwords.matches(known, form.old_password):
            raise BadRequest("That is not the present password.", param="old_password", code="wrong_password")
        hashed, by = await self._passwords.hash(form.password), caller(visitor.principal)

        def write(conn: Connection) -> None:
            conn.execute(update(users).where(users.c.id == visitor.user_id).values(password_hash=hashed))
            by.note(conn, "user.password_changed", visitor.user_id, Of(visitor.organization_id))

        await self._db.write(write)

    async def list(self, visitor: Visitor) -> list[Json]:
        """List the members. Times in Unix seconds."""
        rows = await self._db.read(lambda conn: store.members(conn, visitor.organization_id))
        return [
            {
                "id": row.id,
                "name": row.name,
                "email": row.email,
                "role": row.role,
                "operator": row.operator,
                "joined_at": row.created_at // 1000,
                "signed_in_at": None if row.signed_in_at is None else row.signed_in_at // 1000,
            }
            for row in rows
        ]

    async def names(self, ids: Iterable[str]) -> dict[str, str]:
        """Give the names of people by id; ids of keys and of nobody are left out."""
        wanted = list(ids)
        return await self._db.read(lambda conn: store.names(conn, wanted))

    async def change_role(self, visitor: Visitor, user_id: str, form: RoleForm) -> None:
        """Give a member another role. Forbidden beyond the own one; there is always an owner."""
        of, by = Of(visitor.organization_id), caller(visitor.principal)

        def write(conn: Connection) -> None:
            before = _managed(conn, visitor, user_id, form.role)
            if before == Role.OWNER != form.role:
                _keep_an_owner(conn, visitor.organization_id)
            conn.execute(update(memberships).where(*_one(visitor, user_id)).values(role=form.role))
            told = {"before": {"role": before}, "after": {"role": form.role}}
            by.note(conn, "user.updated", user_id, of, before=told["before"], after=told["after"])

        await self._db.write(write)

    async def remove(self, visitor: Visitor, user_id: str) -> None:
        """Take a member out: the next page that they open is refused. Anybody but the last owner may leave."""
        by = caller(visitor.principal)

        def write(conn: Connection) -> None:
            if user_id == visitor.user_id:
                role = store.role_of(conn, visitor.organization_id, user_id)
            else:
                role = _managed(conn, visitor, user_id, None)
            if role == Role.OWNER:
                _keep_an_owner(conn, visitor.organization_id)
            conn.execute(delete(memberships).where(*_one(visitor, user_id)))
            by.note(conn, "user.deleted", user_id, Of(visitor.organization_id), before={"role": role})

        await self._db.write(write)

    async def make_operator(self, visitor: Visitor, user_id: str, *, operator: bool) -> None:
        """Let a member run this installation, or no longer. For operators; nobody can do this to himself."""
        if not visitor.operator or user_id == visitor.user_id:
            raise Forbidden("Only another operator may change who operates this installation.")
        by = caller(visitor.principal)

        def write(conn: Connection) -> None:
            _role(conn, visitor, user_id)
            conn.execute(update(users).where(users.c.id == user_id).values(operator=operator))
            by.note(conn, "user.updated", user_id, after={"operator": operator})

        await self._db.write(write)


def _one(visitor: Visitor, user_id: str) -> tuple[Any, ...]:
    return (memberships.c.organization_id == visitor.organization_id, memberships.c.user_id == user_id)


def _role(conn: Connection, visitor: Visitor, user_id: str) -> Role:
    role = store.role_of(conn, visitor.organization_id, user_id)
    if role is None:
        raise NotFound(f"No member '{user_id[:64]}' in this organization.", code="user_not_found")
    return role


def _managed(conn: Connection, visitor: Visitor, user_id: str, wanted: Role | None) -> Role:
    role = _role(conn, visitor, user_id)
    allowed = may_manage(visitor.role, role) and (wanted is None or may_manage(visitor.role, wanted))
    if not allowed:
        raise Forbidden("Your role does not let you change this member so.", param="role")
    return role


def _keep_an_owner(conn: Connection, organization_id: str) -> None:
    if store.owners(conn, organization_id) < 2:
        raise BadRequest(
            "An organization needs an owner: make somebody else one first.", param="role", code="last_owner"
        )
