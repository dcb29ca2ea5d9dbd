"""SQL over organizations, projects and keys. Every statement is scoped by its organization or project."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, Table, select, tuple_

from billing.tables import balances
from gateway.errors import BadRequest, NotFound
from gateway.keys.tables import api_keys, organizations, projects

AnyRow = Row[Any]
_CHUNK: Final = 1000  # bound parameters of one statement
_TERMS: Final[tuple[Any, ...]] = (organizations.c.plan, organizations.c.margin, balances.c.mode)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which part of a list: at most `limit` rows after the id `after`, oldest first unless `descending`."""

    limit: int = 20
    after: str | None = None
    descending: bool = False


@dataclass(frozen=True, slots=True)
class PageRows:
    """Rows of one page, and whether more follow."""

    rows: Sequence[AnyRow]
    has_more: bool


def find_by_hashes(conn: Connection, hashes: Sequence[str]) -> dict[str, AnyRow]:
    """Read keys by hex SHA-256, with `project_archived_at` and the organization's `plan`, `margin` and `mode`.

    Revoked and expired ones are included.
    """
    found: dict[str, AnyRow] = {}
    columns = (*api_keys.c, projects.c.archived_at.label("project_archived_at"), *_TERMS)
    statement = (
        select(*columns)
        .join(projects, projects.c.id == api_keys.c.project_id)
        .join(organizations, organizations.c.id == api_keys.c.organization_id)
        .join(balances, balances.c.organization_id == api_keys.c.organization_id)
    )
    for start in range(0, len(hashes), _CHUNK):
        chunk = hashes[start : start + _CHUNK]
        for row in conn.execute(statement.where(api_keys.c.hash.in_(chunk))):
            found[row.hash] = row
    return found


def project_anywhere(conn: Connection, project_id: str) -> AnyRow | None:
    """Read a live project of any organization, with `plan`, `margin` and `mode`: for the operator only."""
    columns = (*projects.c, *_TERMS)
    return conn.execute(
        select(*columns)
        .join(organizations, organizations.c.id == projects.c.organization_id)
        .join(balances, balances.c.organization_id == projects.c.organization_id)
        .where(projects.c.id == project_id, projects.c.archived_at.is_(None))
    ).first()


def project(conn: Connection, organization_id: str, project_id: str) -> AnyRow:
    """Read a project of the organization. NotFound for others."""
    row = conn.execute(
        select(projects).where(projects.c.id == project_id, projects.c.organization_id == organization_id)
    ).first()
    if row is None:
        raise NotFound(
            f"No project with the id '{project_id}'.", param="project_id", code="project_not_found"
        )
    return row


def live_project(conn: Connection, organization_id: str, project_id: str) -> AnyRow:
    """Read a project that takes changes. NotFound for others', BadRequest for an archived one."""
    row = project(conn, organization_id, project_id)
    if row.archived_at is not None:
        raise BadRequest(
            f"The project '{project_id}' is archived and cannot be changed.",
            param="project_id",
            code="project_archived",
        )
    return row


def key(conn: Connection, project_id: str, key_id: str, *, made_by: str | None = None) -> AnyRow:
    """Read a key of the project that is not revoked, and made by `made_by` if given. NotFound for others."""
    statement = _keys_of(project_id, made_by).where(api_keys.c.id == key_id)
    row = conn.execute(statement).first()
    if row is None:
        raise NotFound(
            f"No API key with the id '{key_id}' in this project.", param="key_id", code="key_not_found"
        )
    return row


def list_organizations(conn: Connection, page: PageQuery) -> PageRows:
    """Every organization: for the operator only."""
    return _page(conn, organizations, select(organizations), page)


def list_projects(conn: Connection, organization_id: str, page: PageQuery, *, archived: bool) -> PageRows:
    """Projects of one organization, with the archived ones if asked for."""
    statement = select(projects).where(projects.c.organization_id == organization_id)
    if not archived:
        statement = statement.where(projects.c.archived_at.is_(None))
    return _page(conn, projects, statement, page)


def list_keys(conn: Connection, project_id: str, page: PageQuery, *, made_by: str | None = None) -> PageRows:
    """Keys of one project that are not revoked, only those that `made_by` made if given."""
    return _page(conn, api_keys, _keys_of(project_id, made_by), page)


def names(conn: Connection, organization_id: str | None, ids: Sequence[str]) -> dict[str, str]:
    """Give the names of keys, projects and organizations, also of those that ended; None: of every organization."""
    found: dict[str, str] = {}
    for table in (api_keys, projects, organizations):
        owner = table.c.id if table is organizations else table.c.organization_id
        statement = select(table.c.id, table.c.name).where(table.c.id.in_(ids))
        if organization_id is not None:
            statement = statement.where(owner == organization_id)
        found.update({row.id: row.name for row in conn.execute(statement)})
    return found


def _keys_of(project_id: str, made_by: str | None = None) -> Select[Any]:
    keys = select(api_keys).where(api_keys.c.project_id == project_id, api_keys.c.revoked_at.is_(None))
    return keys if made_by is None else keys.where(api_keys.c.created_by == made_by)


def _page(conn: Connection, table: Table, statement: Select[Any], page: PageQuery) -> PageRows:
    position = tuple_(table.c.created_at, table.c.id)
    if page.after is not None:
        cursor = conn.execute(statement.where(table.c.id == page.after)).first()
        if cursor is None:
            raise BadRequest(f"No entry of this list has the id '{page.after}'.", param="after")
        at = tuple_(cursor.created_at, cursor.id)
        statement = statement.where(position < at if page.descending else position > at)
    order = [
        column.desc() if page.descending else column.asc() for column in (table.c.created_at, table.c.id)
    ]
    rows = conn.execute(statement.order_by(*order).limit(page.limit + 1)).fetchall()
    return PageRows(rows[: page.limit], len(rows) > page.limit)
