"""SQL over stored upstreams and their credentials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, insert, or_, select, update

from gateway.db import now_ms
from gateway.errors import NotFound
from gateway.jobs.tables import attempts
from gateway.upstreams.pauses import resume
from gateway.upstreams.tables import credentials, upstreams

AnyRow = Row[Any]

GRACE_MS: Final = 60_000


def _began(account: Any) -> ColumnElement[bool]:
    """Whether an attempt went to the account, or to one server of it where it is a fleet."""
    return or_(attempts.c.upstream == account, attempts.c.upstream.startswith(account + "@"))


_STAMPS: Final = select(upstreams.c.name, upstreams.c.created_at, upstreams.c.revision)
_LIVE: Final = (attempts.c.holds_upstream_slot, _began(upstreams.c.name))


@dataclass(frozen=True, slots=True)
class Stored:
    """Every stored upstream, and every credential that is still kept: encrypted, by name and version."""

    rows: Sequence[AnyRow]
    secrets: Mapping[tuple[str, int], str]


def stamps(conn: Connection) -> frozenset[tuple[str, int, int]]:
    """What differs as soon as any upstream was added, changed or removed."""
    return frozenset((row.name, row.created_at, row.revision) for row in conn.execute(_STAMPS))


def load(conn: Connection) -> Stored:
    """Read everything."""
    rows = conn.execute(select(upstreams).order_by(upstreams.c.created_at, upstreams.c.name)).all()
    kept = conn.execute(select(credentials.c.upstream, credentials.c.version, credentials.c.secret))
    return Stored(rows, {(row.upstream, row.version): row.secret for row in kept})


def find(conn: Connection, name: str, *, lock: bool = False) -> AnyRow:
    """Read one that takes videos. NotFound (upstream_not_found)."""
    query = select(upstreams).where(upstreams.c.name == name, upstreams.c.removed_at.is_(None))
    row = conn.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(
            f"No upstream '{name[:100]}' is stored here; those of onereel.toml and of the environment are changed there.",
            param="name",
            code="upstream_not_found",
        )
    return row


def is_taken(conn: Connection, name: str) -> bool:
    """Whether the name is in use, also by one that was removed and whose last videos still run."""
    return conn.execute(select(upstreams.c.name).where(upstreams.c.name == name)).first() is not None


def add(conn: Connection, name: str, settings: Mapping[str, Any], secret: str | None) -> None:
    """Store an upstream with its first credential."""
    now = now_ms()
    conn.execute(
        insert(upstreams).values(
            name=name,
            settings=dict(settings),
            credential_version=0 if secret is None else 1,
            revision=1,
            created_at=now,
            updated_at=now,
        )
    )
    if secret is not None:
        _keep(conn, name, 1, secret)


def change(conn: Connection, name: str, settings: Mapping[str, Any]) -> None:
    """Replace what an upstream says."""
    _touch(conn, name, settings=dict(settings))


def rotate(conn: Connection, row: AnyRow, secret: str) -> int:
    """Give it a new credential; the version. Attempts that live go on with the one they began with."""
    version = int(row.credential_version) + 1
    _keep(conn, row.name, version, secret)
    _touch(conn, row.name, credential_version=version)
    return version


def remove(conn: Connection, name: str) -> None:
    """Take nothing new; what it has begun goes on."""
    _touch(conn, name, removed_at=now_ms())
    resume(conn, name)


def forget_unused(conn: Connection) -> bool:
    """Delete removed upstreams, and credentials that were replaced, once no live attempt needs them.

    Not at once: a process that has not seen the change yet may just begin an attempt.
    """
    long_ago = now_ms() - GRACE_MS
    busy = exists().where(*_LIVE).correlate(upstreams)
    gone = conn.execute(delete(upstreams).where(upstreams.c.removed_at < long_ago, ~busy)).rowcount
    orphan = ~exists().where(upstreams.c.name == credentials.c.upstream).correlate(credentials)
    needed = exists().where(
        upstreams.c.name == credentials.c.upstream,
        or_(upstreams.c.credential_version == credentials.c.version, upstreams.c.updated_at >= long_ago),
    )
    used = exists().where(
        attempts.c.holds_upstream_slot,
        _began(credentials.c.upstream),
        attempts.c.credential_version == credentials.c.version,
    )
    replaced = ~needed.correlate(credentials) & ~used.correlate(credentials)
    gone += conn.execute(delete(credentials).where(orphan | replaced)).rowcount
    return gone > 0


def live_attempts(conn: Connection, name: str) -> int:
    """How many videos it has begun and not ended."""
    held = select(attempts.c.id).where(attempts.c.holds_upstream_slot, _began(name))
    return len(conn.execute(held).all())


def _keep(conn: Connection, name: str, version: int, secret: str) -> None:
    conn.execute(
        insert(credentials).values(upstream=name, version=version, secret=secret, created_at=now_ms())
    )


def _touch(conn: Connection, name: str, **values: Any) -> None:
    conn.execute(
        update(upstreams)
        .where(upstreams.c.name == name)
        .values(revision=upstreams.c.revision + 1, updated_at=now_ms(), **values)
    )
