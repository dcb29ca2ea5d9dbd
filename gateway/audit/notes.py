"""How an administrative change is noted: with the change, in its transaction, without what is secret.

    by = audit.caller(principal)          # in the service, before the transaction

    def write(conn):
        ...
        by.note(conn, "project.created", project_id, Of(organization_id, project_id), after=answer)

A change that is undone leaves no note, and a note that cannot be written undoes the change.
"""

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, insert

from gateway.audit.tables import audit_log
from gateway.db import now_ms
from gateway.ids import new_id
from gateway.principal import Principal, Scope
from gateway.redaction import redacted

_REQUEST: Final[ContextVar[Mapping[str, Any] | None]] = ContextVar("onereel_request", default=None)
_LONGEST: Final = 1000  # characters of one field as JSON; a longer one is kept as its digest
_VOLATILE: Final = frozenset({"object", "updated_at", "used", "period_ends_at"})

Fields = Mapping[str, Any]


class Of(NamedTuple):
    """Whose the changed object is; None for what is of the installation, or of no project."""

    organization_id: str | None = None
    project_id: str | None = None


INSTALLATION: Final = Of()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for a change, and through which request."""

    key_id: str | None = None
    organization_id: str | None = None
    operator: bool = False
    request_id: str | None = None
    ip_address: str | None = None

    def note(
        self,
        conn: Connection,
        event: str,
        object_id: str,
        of: Of = INSTALLATION,
        *,
        before: Fields | None = None,
        after: Fields | None = None,
    ) -> None:
        """Note a change of the caller's transaction. Of what was and what is, only what differs is kept."""
        was, now = differing(before, after)
        conn.execute(
            insert(audit_log).values(
                id=new_id("audit"),
                organization_id=of.organization_id,
                project_id=of.project_id,
                effective_at=now_ms(),
                type=event,
                object_type=event.partition(".")[0],
                object_id=object_id[:200],
                actor_key_id=self.key_id,
                actor_organization_id=self.organization_id,
                actor_is_operator=self.operator,
                before=was,
                after=now,
                request_id=self.request_id,
                ip_address=self.ip_address,
            )
        )


def serving(scope: Mapping[str, Any]) -> None:
    """Remember the request that this task serves, once its caller is known."""
    _REQUEST.set(scope)


def caller(principal: Principal | None = None) -> Caller:
    """Say who asks: `principal`, else who makes the request that this task serves, else nobody but the system."""
    scope = _REQUEST.get() or {}
    who = principal or scope.get("user")
    client = scope.get("client")
    return Caller(
        key_id=None if who is None else who.key_id,
        organization_id=None if who is None else who.organization_id,
        operator=who is not None and Scope.OPERATOR in who.scopes,
        request_id=scope.get("state", {}).get("request_id"),
        ip_address=client[0] if client else None,
    )


def differing(
    before: Fields | None, after: Fields | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Keep of both what is not the same, redacted; of a thing that was made or removed, all that it was."""
    was, now = _digested(before), _digested(after)
    if was is None or now is None:
        return was, now
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return {name: was.get(name) for name in names}, {name: now.get(name) for name in names}


def _digested(fields: Fields | None) -> dict[str, Any] | None:
    """Blank what is secret, and shorten what is long to its SHA-256. A secret that was replaced shows as its version."""
    if fields is None:
        return None
    kept = {name: value for name, value in fields.items() if name not in _VOLATILE}
    return {name: _shortened(value) for name, value in redacted(kept).items()}


def _shortened(value: Any) -> Any:
    text = msgspec.json.encode(value)
    return (
        value if len(text) <= _LONGEST else {"sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text)}
    )
