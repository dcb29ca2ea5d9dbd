"""Signed-in people: a random cookie, of which the database has the hash; ended by deleting its row."""

import secrets
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_group import DatabaseAway
from gateway.errors import NotFound
from gateway.ids import new_id
from gateway.keys.service import KeyService
from gateway.keys.tokens import digest
from gateway.members import store
from gateway.members.roles import SCOPES, Role
from gateway.members.tables import sessions, users
from gateway.principal import Principal, Scope

IDLE_MS: Final = 14 * 24 * 3_600_000
LONGEST_MS: Final = 60 * 24 * 3_600_000
_SEEN_EVERY_MS: Final = 5 * 60_000
_MOST_PLACES: Final = 200

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from."""

    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person in one project. `csrf` is what forms send along; `principal` is who calls the services."""

    user_id: str
    name: str
    email: str
    role: Role
    operator: bool
    session_id: str
    csrf: str
    organization_id: str
    organization_name: str
    project_id: str
    project_name: str
    principal: Principal

    def may(self, scope: Scope) -> bool:
        """Whether the role has the scope."""
        return scope in self.principal.scopes or Scope.OPERATOR in self.principal.scopes


class Sessions:
    """Opens, recognises and ends sessions. One per process."""

    def __init__(self, db: Database, clock: Clock, keys: KeyService) -> None:
        self._db = db
        self._clock = clock
        self._keys = keys

    async def open(self, user_id: str, client: Client) -> str:
        """Sign a person in: the value of the cookie. NotFound for one who belongs to nothing any longer."""
        token, now = secrets.token_urlsafe(32), self._clock.now_ms()

        def write(conn: Connection) -> None:
            user = store.user_by_id(conn, user_id)
            found = user and store.first_place(conn, user_id, operator=user.operator)
            if not found:
                raise NotFound(
                    "This account belongs to no organization any longer. Ask an owner for an invitation.",
                    code="no_organization",
                )
            conn.execute(update(users).where(users.c.id == user_id).values(signed_in_at=now))
            conn.execute(
                insert(sessions).values(
                    id=new_id("sess"),
                    hash=digest(token),
                    user_id=user_id,
                    project_id=found.project_id,
                    created_at=now,
                    seen_at=now,
                    expires_at=now + IDLE_MS,
                    ip_address=(client.ip_address or "")[:64] or None,
                    user_agent=(client.user_agent or "")[:300] or None,
                )
            )

        await self._db.write(write)
        return token

    async def visitor(self, token: str) -> Visitor | None:
        """Recognise a cookie: who it is, in which project, with which rights now. None for one that is over."""
        now = self._clock.now_ms()
        found = await self._db.read(lambda conn: _find(conn, digest(token), now))
        if found is None:
            return None
        session, place = found
        if now - session.seen_at > _SEEN_EVERY_MS:
            await self._seen(session, now)
        role = Role.OWNER if place.role is None else Role(place.role)
        scopes = SCOPES[role] | ({Scope.OPERATOR} if session.operator else set())
        return Visitor(
            user_id=session.user_id,
            name=session.name,
            email=session.email,
            role=role,
            operator=session.operator,
            session_id=session.id,
            csrf=digest(f"csrf:{token}"),
            organization_id=place.organization_id,
            organization_name=place.organization_name,
            project_id=place.project_id,
            project_name=place.project_name,
            principal=await self._keys.person(session.user_id, place.project_id, scopes),
        )

    async def lasts(self, visitor: Visitor) -> bool:
        """Whether the session is still there and lets its person into the same project, for what takes longer."""
        now = self._clock.now_ms()

        def read(conn: Connection) -> bool:
            there = sessions.c.id == visitor.session_id, sessions.c.expires_at > now
            if conn.execute(select(sessions.c.id).where(*there)).first() is None:
                return False
            return (
                store.place(conn, visitor.user_id, visitor.project_id, operator=visitor.operator) is not None
            )

        try:
            return await self._db.read(read)
        except DatabaseAway:
            return True  # nobody knows just now; asked again at the next turn

    async def close(self, session_id: str, user_id: str) -> None:
        """End one of a person's own sessions."""
        await self._end(sessions.c.id == session_id, sessions.c.user_id == user_id)

    async def close_others(self, visitor: Visitor) -> None:
        """End all sessions of a person but the present one."""
        await self._end(sessions.c.user_id == visitor.user_id, sessions.c.id != visitor.session_id)

    async def of(self, user_id: str) -> list[Json]:
        """List a person's sessions, the latest used first. Times in Unix seconds."""
        now = self._clock.now_ms()
        statement = (
            select(sessions)
            .where(sessions.c.user_id == user_id, sessions.c.expires_at > now)
            .order_by(sessions.c.seen_at.desc())
            .limit(_MOST_PLACES)
        )
        rows = await self._db.read(lambda conn: conn.execute(statement).all())
        return [
            {
                "id": row.id,
                "created_at": row.created_at // 1000,
                "seen_at": row.seen_at // 1000,
                "ip_address": row.ip_address,
                "user_agent": row.user_agent,
            }
            for row in rows
        ]

    async def places(self, visitor: Visitor) -> list[Json]:
        """List the projects that a person can turn to, by organization; an operator's own come first."""
        rows = await self._db.read(
            lambda conn: store.places(conn, visitor.user_id, operator=visitor.operator, limit=_MOST_PLACES)
        )
        return [dict(row._mapping) for row in rows]  # noqa: SLF001  (SQLAlchemy's public name for it)

    async def places_of(self, visitor: Visitor, organization_id: str) -> list[Json]:
        """List those of one organization."""
        rows = await self._db.read(
            lambda conn: store.places(
                conn,
                visitor.user_id,
                operator=visitor.operator,
                limit=_MOST_PLACES,
                organization_id=organization_id,
            )
        )
        return [dict(row._mapping) for row in rows]  # noqa: SLF001  (SQLAlchemy's public name for it)

    async def turn_to(self, visitor: Visitor, project_id: str) -> Visitor:
        """Look at another project from now on. NotFound for one that the person has no part in."""

        def write(conn: Connection) -> Any:
            found = store.place(conn, visitor.user_id, project_id, operator=visitor.operator)
            if found is None:
                raise NotFound(
                    f"No project '{project_id[:64]}'.", param="project_id", code="project_not_found"
                )
            conn.execute(
                update(sessions).where(sessions.c.id == visitor.session_id).values(project_id=project_id)
            )
            return found

        place = await self._db.write(write)
        return replace(
            visitor,
            organization_id=place.organization_id,
            organization_name=place.organization_name,
            project_id=place.project_id,
            project_name=place.project_name,
        )

    async def _seen(self, session: Any, now: int) -> None:
        until = min(now + IDLE_MS, session.created_at + LONGEST_MS)
        changed = update(sessions).where(sessions.c.id == session.id).values(seen_at=now, expires_at=until)
        await self._db.write(lambda conn: conn.execute(changed))

    async def _end(self, *which: Any) -> None:
        await self._db.write(lambda conn: conn.execute(delete(sessions).where(*which)))


def _find(conn: Connection, hashed: str, now: int) -> tuple[Any, Any] | None:
    columns = (users.c.name, users.c.email, users.c.operator)
    session = conn.execute(
        select(sessions, *columns)
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.hash == hashed, sessions.c.expires_at > now)
    ).first()
    if session is None:
        return None
    who, operator = session.user_id, session.operator
    place = store.place(conn, who, session.project_id, operator=operator)
    place = place or store.first_place(conn, who, operator=operator)  # it was archived, or the person removed
    return None if place is None else (session, place)
