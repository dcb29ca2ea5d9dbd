"""Reading the audit log."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, select, tuple_

from gateway.audit.tables import audit_log
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.principal import Principal, Scope
from gateway.usage.view import csv_text, iso

c: Final = audit_log.c
CSV_COLUMNS: Final = (
    "effective_at", "id", "type", "object_id", "organization_id", "project_id", "actor_id", "actor_is_operator",
    "ip_address", "request_id", "before", "after",
)  # fmt: skip
MOST_OF_A_FILE: Final = 100_000
"""Entries; whoever needs more asks for fewer days."""
_FILE_ENTRIES: Final = 500
"""How many entries of a file are read at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: the newest `limit` before the id `after`, or the oldest behind `before`; times in Unix seconds."""

    limit: int = 20
    after: str | None = None
    before: str | None = None
    times: dict[str, int | None] = field(default_factory=dict)  # gt, gte, lt, lte
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by column


@dataclass(frozen=True, slots=True)
class Page:
    """One page of public objects, and whether more follow."""

    data: list[dict[str, Any]]
    has_more: bool


class AuditService:
    """The notes of all organizations: an operator reads them all, everybody else those of the own organization."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, principal: Principal, wanted: Wanted) -> Page:
        """List entries, newest first. BadRequest for an unknown cursor."""
        principal.require(Scope.ORGANIZATION)
        of_all = Scope.OPERATOR in principal.scopes
        organization_id = None if of_all else principal.organization_id
        rows, more = await self._db.read(lambda conn: _rows(conn, organization_id, wanted))
        return Page([public_entry(row) for row in rows], more)

    async def csv(self, principal: Principal, wanted: Wanted) -> AsyncIterator[str]:
        """The newest entries as CSV, read as fast as they are taken. BadRequest before the file begins."""
        principal.require(Scope.ORGANIZATION)
        organization_id = None if Scope.OPERATOR in principal.scopes else principal.organization_id
        part = replace(wanted, limit=_FILE_ENTRIES, before=None)
        first = await self._db.read(lambda conn: _rows(conn, organization_id, part))

        async def file() -> AsyncIterator[str]:
            yield csv_text([CSV_COLUMNS])
            rows, more = first
            left = MOST_OF_A_FILE
            while rows:
                yield csv_text(_line(row) for row in rows[:left])
                left -= len(rows)
                if not more or left <= 0:
                    return
                behind = replace(part, after=rows[-1].id)
                rows, more = await self._db.read(
                    lambda conn, behind=behind: _rows(conn, organization_id, behind)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                )

        return file()


def _rows(conn: Connection, organization_id: str | None, wanted: Wanted) -> tuple[Sequence[Row[Any]], bool]:
    where = [*_times(wanted.times), *(c[name].in_(values) for name, values in wanted.lists.items() if values)]
    if organization_id is not None:
        where.append(c.organization_id == organization_id)
    place = tuple_(c.effective_at, c.id)
    if wanted.after is not None:
        where.append(place < _at(conn, organization_id, wanted.after, "after"))
    if wanted.before is not None:
        where.append(place > _at(conn, organization_id, wanted.before, "before"))
    backwards = (
        wanted.before is not None and wanted.after is None
    )  # the page that lies right before the cursor
    order = (c.effective_at, c.id) if backwards else (c.effective_at.desc(), c.id.desc())
    rows = conn.execute(select(audit_log).where(*where).order_by(*order).limit(wanted.limit + 1)).all()
    kept = list(rows[: wanted.limit])
    if backwards:
        kept.reverse()
    return kept, len(rows) > wanted.limit


def _line(row: Row[Any]) -> Sequence[object]:
    told = [
        None if value is None else msgspec.json.encode(value).decode() for value in (row.before, row.after)
    ]
    return (
        iso(row.effective_at),
        row.id,
        row.type,
        row.object_id,
        row.organization_id,
        row.project_id,
        row.actor_key_id,
        str(row.actor_is_operator).lower(),
        row.ip_address,
        row.request_id,
        *told,
    )


def _times(times: dict[str, int | None]) -> list[ColumnElement[bool]]:
    """Seconds of an entry are those that are shown: rounded down."""
    bounds = {
        "gt": lambda at: c.effective_at >= (at + 1) * 1000,
        "gte": lambda at: c.effective_at >= at * 1000,
        "lt": lambda at: c.effective_at < at * 1000,
        "lte": lambda at: c.effective_at < (at + 1) * 1000,
    }
    return [bounds[name](at) for name, at in times.items() if at is not None]


def _at(conn: Connection, organization_id: str | None, entry_id: str, param: str) -> Any:
    found = select(c.effective_at, c.id).where(c.id == entry_id)
    if organization_id is not None:
        found = found.where(c.organization_id == organization_id)
    row = conn.execute(found).first()
    if row is None:
        raise BadRequest(f"No entry of this list has the id '{entry_id}'.", param=param)
    return tuple_(row.effective_at, row.id)


def public_entry(row: Row[Any]) -> dict[str, Any]:
    """Shape an entry as OpenAI does: what happened lies under its type."""
    told: dict[str, Any] = {"id": row.object_id}
    if row.before is not None:
        told["before"] = row.before
    if row.after is not None:
        told["data" if row.before is None else "changes_requested"] = row.after
    return {
        "id": row.id,
        "object": "organization.audit_log",
        "type": row.type,
        "effective_at": row.effective_at // 1000,
        "project": None if row.project_id is None else {"id": row.project_id},
        "actor": {
            **_actor(row.actor_key_id),
            "organization_id": row.actor_organization_id,
            "operator": row.actor_is_operator,
            "ip_address": row.ip_address,
        },
        row.type: told,
        "organization_id": row.organization_id,
        "request_id": row.request_id,
    }


def _actor(caller_id: str | None) -> dict[str, Any]:
    if caller_id is None:
        return {"type": "system"}
    if caller_id.startswith("user_"):
        return {"type": "session", "session": {"user": {"id": caller_id}}}
    key = {"id": caller_id, "type": "service_account", "service_account": {"id": caller_id}}
    return {"type": "api_key", "api_key": key}
