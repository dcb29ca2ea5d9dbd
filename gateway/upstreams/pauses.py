"""Upstreams that take nothing new: because the operator says so, or because they refuse our credential or our money."""

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, or_, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.db import now_ms
from gateway.upstreams.tables import pauses

BY_OPERATOR: Final = "operator"

_ALL: Final = select(
    pauses.c.upstream,
    pauses.c.reason,
    pauses.c.message,
    pauses.c.credential_hash,
    pauses.c.paused_at,
    (now_ms() - pauses.c.paused_at).label("age_ms"),
)


@dataclass(frozen=True, slots=True)
class Pause:
    """Why (`operator`, `provider_auth` or `provider_funds`), in which words, since when."""

    reason: str
    message: str
    credential_hash: str | None
    paused_at: int
    age_ms: int


def hash_of(credential: str) -> str:
    """Tell one credential from another without keeping it."""
    return hashlib.sha256(credential.encode()).hexdigest()[:16]


def pause(
    conn: Connection, upstream: str, reason: str, message: str, credential_hash: str | None = None
) -> bool:
    """Pause an upstream; False where it is paused already, which is left as it is."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    row = make(pauses).values(
        upstream=upstream,
        reason=reason,
        message=message,
        credential_hash=credential_hash,
        paused_at=now_ms(),
    )
    return conn.execute(row.on_conflict_do_nothing()).rowcount > 0


def resume(conn: Connection, upstream: str, *, automatic_only: bool = False) -> bool:
    """End a pause, and those of its servers where it is a fleet; False where there was none.

    `automatic_only`: not one that the operator made.
    """
    servers = pauses.c.upstream.startswith(f"{upstream}@", autoescape=True)
    gone = delete(pauses).where(or_(pauses.c.upstream == upstream, servers))
    if automatic_only:
        gone = gone.where(pauses.c.reason != BY_OPERATOR)
    return conn.execute(gone).rowcount > 0


def all_pauses(conn: Connection) -> dict[str, Pause]:
    """Every pause by upstream."""
    return {
        row.upstream: Pause(row.reason, row.message, row.credential_hash, row.paused_at, row.age_ms)
        for row in conn.execute(_ALL)
    }
