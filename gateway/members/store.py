"""SQL over people and what they belong to. Whatever is of an organization is scoped by it in the base statement."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, exists, func, insert, select

from gateway.errors import NotFound
from gateway.ids import new_id
from gateway.keys.tables import organizations, projects
from gateway.members.roles import Role
from gateway.members.tables import invitations, memberships, users

AnyRow = Row[Any]
_MOST: Final = 1000  # members or invitations of one organization that a page shows
_PLACE: Final = (
    projects.c.id.label("project_id"),
    projects.c.name.label("project_name"),
    organizations.c.id.label("organization_id"),
    organizations.c.name.label("organization_name"),
    memberships.c.role,
)


def anybody(conn: Connection) -> bool:
    """Whether there is any account yet."""
    return bool(conn.execute(select(exists().where(users.c.id.is_not(None)))).scalar_one())


def user_by_email(conn: Connection, email: str, *, lock: bool = False) -> AnyRow | None:
    """Read a person by e-mail address in lower case."""
    statement = select(users).where(users.c.email == email)
    return conn.execute(statement.with_for_update() if lock else statement).first()


def user_by_id(conn: Connection, user_id: str) -> AnyRow | None:
    """Read a person."""
    return conn.execute(select(users).where(users.c.id == user_id)).first()


def add_user(conn: Connection, *, email: str, name: str, now: int, **columns: Any) -> str:
    """Insert a person; `columns` are of the table `users`."""
    user_id = new_id("user")
    values = {"operator": False, **columns}
    conn.execute(insert(users).values(id=user_id, email=email, name=name, created_at=now, **values))
    return user_id


def add_member(conn: Connection, organization_id: str, user_id: str, role: Role, now: int) -> None:
    """Make a person a member."""
    conn.execute(
        insert(memberships).values(
            organization_id=organization_id, user_id=user_id, role=role, created_at=now
        )
    )


def role_of(conn: Connection, organization_id: str, user_id: str) -> Role | None:
    """Read what a person is in an organization."""
    row = conn.execute(
        select(memberships.c.role).where(
            memberships.c.organization_id == organization_id, memberships.c.user_id == user_id
        )
    ).first()
    return None if row is None else Role(row.role)


def owners(conn: Connection, organization_id: str) -> int:
    """Count the owners of an organization, and keep others from changing them meanwhile."""
    rows = conn.execute(
        select(memberships.c.user_id)
        .where(memberships.c.organization_id == organization_id, memberships.c.role == Role.OWNER)
        .with_for_update()
    ).all()
    return len(rows)


def members(conn: Connection, organization_id: str) -> list[AnyRow]:
    """List the members of an organization, the first one first."""
    columns = (users.c.id, users.c.email, users.c.name, users.c.operator, users.c.signed_in_at)
    statement = (
        select(*columns, memberships.c.role, memberships.c.created_at)
        .join(users, users.c.id == memberships.c.user_id)
        .where(memberships.c.organization_id == organization_id)
        .order_by(memberships.c.created_at, users.c.id)
        .limit(_MOST)
    )
    return [*conn.execute(statement)]


def open_invitations(conn: Connection, organization_id: str, now: int) -> list[AnyRow]:
    """List the invitations that can still be accepted, the newest first."""
    statement = (
        select(invitations)
        .where(
            invitations.c.organization_id == organization_id,
            invitations.c.accepted_at.is_(None),
            invitations.c.expires_at > now,
        )
        .order_by(invitations.c.created_at.desc())
        .limit(_MOST)
    )
    return list(conn.execute(statement).all())


def open_invitation(conn: Connection, hashed: str, now: int, *, lock: bool = False) -> AnyRow | None:
    """Read the invitation of a link, with the organization's name; None for one that is used or over."""
    statement = (
        select(invitations, organizations.c.name.label("organization_name"))
        .join(organizations, organizations.c.id == invitations.c.organization_id)
        .where(
            invitations.c.hash == hashed, invitations.c.accepted_at.is_(None), invitations.c.expires_at > now
        )
    )
    return conn.execute(statement.with_for_update(of=invitations) if lock else statement).first()


def open_invitation_of(conn: Connection, email: str, now: int) -> AnyRow | None:
    """Read the newest open invitation of an address, and keep it from being used twice."""
    statement = (
        select(invitations)
        .where(
            invitations.c.email == email,
            invitations.c.user_id.is_(None),
            invitations.c.accepted_at.is_(None),
            invitations.c.expires_at > now,
        )
        .order_by(invitations.c.created_at.desc())
        .limit(1)
        .with_for_update()
    )
    return conn.execute(statement).first()


def was_accepted(conn: Connection, hashed: str) -> bool:
    """Whether a link has been used."""
    used = invitations.c.hash == hashed, invitations.c.accepted_at.is_not(None)
    return conn.execute(select(invitations.c.id).where(*used)).first() is not None


def organization_name(conn: Connection, organization_id: str, *, lock: bool = False) -> str:
    """Read the name of an organization."""
    statement = select(organizations.c.name).where(organizations.c.id == organization_id)
    found = conn.execute(statement.with_for_update() if lock else statement).first()
    if found is None:
        raise NotFound(f"No organization '{organization_id[:64]}'.", code="organization_not_found")
    return str(found.name)


def names(conn: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Read the names of people by id; unknown ids are left out."""
    wanted = [each for each in set(ids) if each.startswith("user_")]
    if not wanted:
        return {}
    rows = conn.execute(select(users.c.id, users.c.name).where(users.c.id.in_(wanted)))
    return {row.id: row.name for row in rows}


def place(conn: Connection, user_id: str, project_id: str, *, operator: bool) -> AnyRow | None:
    """Read an open project with its organization and the person's role there; operators may look everywhere."""
    return conn.execute(_places(user_id, operator=operator).where(projects.c.id == project_id)).first()


def first_place(conn: Connection, user_id: str, *, operator: bool) -> AnyRow | None:
    """Find somewhere to begin: the oldest open project of the organization that the person joined first."""
    order = (func.coalesce(memberships.c.created_at, 2**62), projects.c.created_at, projects.c.id)
    return conn.execute(_places(user_id, operator=operator).order_by(*order).limit(1)).first()


def places(
    conn: Connection, user_id: str, *, operator: bool, limit: int, organization_id: str | None = None
) -> list[AnyRow]:
    """List the open projects that a person may look at, by organization and name; the own organizations first."""
    order = (memberships.c.role.is_(None), organizations.c.name, organizations.c.id, projects.c.name)
    statement = _places(user_id, operator=operator).order_by(*order).limit(limit)
    if organization_id is not None:
        statement = statement.where(organizations.c.id == organization_id)
    return list(conn.execute(statement).all())


def _places(user_id: str, *, operator: bool) -> Select[Any]:
    own = and_(memberships.c.organization_id == projects.c.organization_id, memberships.c.user_id == user_id)
    return (
        select(*_PLACE)
        .select_from(projects)
        .join(organizations, organizations.c.id == projects.c.organization_id)
        .join(memberships, own, isouter=operator)
        .where(projects.c.archived_at.is_(None))
    )
