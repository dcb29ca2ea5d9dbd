"""Ways in: the link of the first visit, invitations, and links for a new password. Only hashes of links are kept."""

import secrets
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, delete, insert, update
from sqlalchemy.exc import IntegrityError

from gateway.audit.notes import Of, caller
from gateway.clock import Clock
from gateway.crypto import SecretBox
from gateway.db import Database
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.ids import new_id
from gateway.keys.service import DEFAULT_ORGANIZATION
from gateway.keys.tokens import digest
from gateway.members import store
from gateway.members.forms import AccountForm, InvitationForm
from gateway.members.passwords import Passwords
from gateway.members.recovery import recovered_email
from gateway.members.roles import Role, may_manage
from gateway.members.sessions import Visitor
from gateway.members.tables import invitations, sessions, users

LIFETIME_MS: Final = 7 * 24 * 3_600_000
_FIRST: Final = "the first visit"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a link leads to: the account of whoever installed onereel, membership, or a new password."""

    kind: Literal["first", "join", "password"]
    organization_id: str
    organization_name: str
    role: Role
    email: str | None = None


class Invitations:
    """Makes and redeems links. Raises ApiError."""

    def __init__(self, db: Database, clock: Clock, secrets_box: SecretBox, passwords: Passwords) -> None:
        self._db = db
        self._clock = clock
        self._box = secrets_box
        self._passwords = passwords

    async def first_visit(self) -> str | None:
        """The link's token of the owner's account, None once there is one. The same in every process and at every start."""
        known = await self._db.read(store.anybody)
        return None if known else self._box.signature(_FIRST)

    async def find(self, token: str) -> Invitation:
        """Say what a link leads to. NotFound for one that was never given out, is used or over."""
        now = self._clock.now_ms()
        first = self._box.is_signature(_FIRST, token)
        email = recovered_email(self._box, token, now)

        def read(conn: Connection) -> Invitation:
            if email is not None:
                return _recovering(conn, email, token)
            return _first(conn) if first else _shown(store.open_invitation(conn, digest(token), now), conn)

        return await self._db.read(read)

    async def create_account(self, token: str, form: AccountForm) -> str:
        """Make the account that an invitation is for: the person's id. BadRequest for an address that has one."""
        first, now = self._box.is_signature(_FIRST, token), self._clock.now_ms()
        hashed = await self._passwords.hash(form.password)

        def write(conn: Connection) -> str:
            row = None if first else store.open_invitation(conn, digest(token), now, lock=True)
            found = _first(conn, lock=True) if first else _shown(row, conn)
            if found.kind == "password":
                raise BadRequest("This link is for a new password.", param="password")
            _check_address(found, form.email)
            if store.user_by_email(conn, form.email) is not None:
                raise _has_account()
            user_id = store.add_user(
                conn, email=form.email, name=form.name, now=now, password_hash=hashed, operator=first
            )
            self._joined(conn, found, user_id, now, row)
            return user_id

        try:
            return await self._db.write(write)
        except IntegrityError:  # the same address by another link, at the same time
            raise _has_account() from None

    async def join(self, token: str, visitor: Visitor) -> None:
        """Make a signed-in person a member. BadRequest if the link is for another, or the person is one already."""
        now = self._clock.now_ms()

        def write(conn: Connection) -> None:
            row = store.open_invitation(conn, digest(token), now, lock=True)
            found = _shown(row, conn)
            if found.kind != "join":
                raise BadRequest("This link is not for joining an organization.", param="token")
            _check_address(found, visitor.email)
            if store.role_of(conn, found.organization_id, visitor.user_id) is not None:
                raise BadRequest(f"You belong to {found.organization_name} already.", code="already_member")
            self._joined(conn, found, visitor.user_id, now, row)

        await self._db.write(write)

    async def choose_password(self, token: str, password: str) -> str:
        """Redeem a link for a new password: the person's id. All sessions of the old one end."""
        now = self._clock.now_ms()
        await self.find(token)
        hashed = await self._passwords.hash(password)

        email = recovered_email(self._box, token, now)

        def write(conn: Connection) -> str:
            if email is not None:
                user_id = self._recovered(conn, email, token, now)
            else:
                row = store.open_invitation(conn, digest(token), now, lock=True)
                if row is None or row.user_id is None:
                    raise _over()
                conn.execute(update(invitations).where(invitations.c.id == row.id).values(accepted_at=now))
                user_id = str(row.user_id)
            conn.execute(update(users).where(users.c.id == user_id).values(password_hash=hashed))
            conn.execute(delete(sessions).where(sessions.c.user_id == user_id))
            caller().note(conn, "user.password_changed", user_id)
            return user_id

        return await self._db.write(write)

    async def invite(self, visitor: Visitor, form: InvitationForm) -> str:
        """Make an invitation: the link's token, which is shown this once. Forbidden for a role above the own one."""
        if not may_manage(visitor.role, form.role):
            raise Forbidden(f"A member with your role may not invite anybody as {form.role}.", param="role")
        values = {"email": form.email, "role": form.role}
        return await self._made(visitor, values, "invite.sent", {"email": form.email, "role": form.role})

    async def password_link(self, visitor: Visitor, user_id: str) -> str:
        """Make a link for a member who lost the password: its token. It is for whoever manages the member alone."""
        role = await self._db.read(lambda conn: store.role_of(conn, visitor.organization_id, user_id))
        if role is None:
            raise NotFound(f"No member '{user_id[:64]}'.", code="user_not_found")
        if not may_manage(visitor.role, role):
            raise Forbidden(f"A member with your role may not do this for an {role}.")
        operator = await self._db.read(lambda conn: store.user_by_id(conn, user_id))
        if operator is not None and operator.operator and not visitor.operator:
            raise Forbidden("Only an operator may do this for an operator.")
        return await self._made(visitor, {"role": role, "user_id": user_id}, "user.password_link", {})

    async def list(self, visitor: Visitor) -> list[Json]:
        """List what can still be accepted. Times in Unix seconds."""
        now = self._clock.now_ms()
        rows = await self._db.read(lambda conn: store.open_invitations(conn, visitor.organization_id, now))
        return [
            {
                "id": row.id,
                "email": row.email,
                "role": row.role,
                "kind": "join" if row.user_id is None else "password",
                "user_id": row.user_id,
                "created_by": row.created_by,
                "expires_at": row.expires_at // 1000,
            }
            for row in rows
        ]

    async def revoke(self, visitor: Visitor, invitation_id: str) -> None:
        """Make a link worthless. NotFound for another organization's."""
        by = caller(visitor.principal)
        which = (
            invitations.c.id == invitation_id,
            invitations.c.organization_id == visitor.organization_id,
            invitations.c.accepted_at.is_(None),
        )

        def write(conn: Connection) -> None:
            if not conn.execute(delete(invitations).where(*which)).rowcount:
                raise NotFound(f"No open invitation '{invitation_id[:64]}'.", code="invitation_not_found")
            by.note(conn, "invite.deleted", invitation_id, Of(visitor.organization_id))

        await self._db.write(write)

    async def _made(self, visitor: Visitor, values: Json, event: str, told: Json) -> str:
        token, now, by = secrets.token_urlsafe(32), self._clock.now_ms(), caller(visitor.principal)
        row = {
            "id": new_id("inv"),
            "hash": digest(token),
            "organization_id": visitor.organization_id,
            "created_by": visitor.user_id,
            "created_at": now,
            "expires_at": now + LIFETIME_MS,
            **values,
        }

        def write(conn: Connection) -> None:
            conn.execute(insert(invitations).values(row))
            by.note(conn, event, values.get("user_id") or row["id"], Of(visitor.organization_id), after=told)

        await self._db.write(write)
        return token

    def _recovered(self, conn: Connection, email: str, token: str, now: int) -> str:
        """Use up a link that no row was kept of: its own row is one that has been accepted. Two at once: one waits."""
        user = store.user_by_email(conn, email, lock=True)
        if user is None:
            raise _over()
        found = _recovering(conn, email, token)
        conn.execute(
            insert(invitations).values(
                id=new_id("inv"),
                hash=digest(token),
                organization_id=found.organization_id,
                role=found.role,
                user_id=user.id,
                created_by=user.id,
                created_at=now,
                expires_at=now + LIFETIME_MS,
                accepted_at=now,
            )
        )
        return str(user.id)

    def _joined(
        self, conn: Connection, found: Invitation, user_id: str, now: int, row: Row[Any] | None
    ) -> None:
        store.add_member(conn, found.organization_id, user_id, found.role, now)
        if row is not None:
            conn.execute(update(invitations).where(invitations.c.id == row.id).values(accepted_at=now))
        by = caller()
        by.note(conn, "user.added", user_id, Of(found.organization_id), after={"role": found.role})


def _first(conn: Connection, *, lock: bool = False) -> Invitation:
    """The link of the first visit: good until there is an account. Two at once: the second waits, and is late."""
    name = store.organization_name(conn, DEFAULT_ORGANIZATION, lock=lock)
    if store.anybody(conn):
        raise NotFound("The owner's account is made: sign in.", code="invitation_over")
    return Invitation("first", DEFAULT_ORGANIZATION, name, Role.OWNER)


def _recovering(conn: Connection, email: str, token: str) -> Invitation:
    """A link of `onereel recover`. NotFound once it was used, or where nobody has that address."""
    user = store.user_by_email(conn, email)
    if user is None or store.was_accepted(conn, digest(token)):
        raise _over()
    place = store.first_place(conn, user.id, operator=user.operator)
    if place is None:
        raise _over()
    role = Role.OWNER if place.role is None else Role(place.role)
    return Invitation("password", place.organization_id, place.organization_name, role, email)


def _shown(row: Row[Any] | None, conn: Connection) -> Invitation:
    if row is None:
        raise _over()
    kind: Literal["join", "password"] = "join" if row.user_id is None else "password"
    email = row.email
    if row.user_id is not None:
        user = store.user_by_id(conn, row.user_id)
        email = None if user is None else user.email
    return Invitation(kind, row.organization_id, row.organization_name, Role(row.role), email)


def _has_account() -> BadRequest:
    return BadRequest(
        "There is an account with this address: sign in, then open the link again.",
        param="email",
        code="account_exists",
    )


def _check_address(found: Invitation, email: str) -> None:
    if found.email is not None and found.email != email:
        raise BadRequest(
            "This invitation is for another e-mail address.", param="email", code="other_address"
        )


def _over() -> NotFound:
    return NotFound("This link is used, withdrawn or too old. Ask for a new one.", code="invitation_over")
