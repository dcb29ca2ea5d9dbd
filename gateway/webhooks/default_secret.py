"""The secret of a project for deliveries to a request's own `webhook_url`, kept encrypted in the project's row."""

import json
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, Select, select, update

from gateway.crypto import SecretBox
from gateway.keys.tables import projects
from gateway.webhooks.signing import new_secret


@dataclass(frozen=True, slots=True)
class DefaultSecret:
    """The secret, and the one before while it is still valid (`previous_until`, milliseconds since the epoch)."""

    secret: str
    created_at: int
    rotated_at: int
    previous: str | None = None
    previous_until: int = 0

    def valid(self, now: int) -> tuple[str, ...]:
        """List what signs at `now`, newest first."""
        return valid_secrets(self.secret, self.previous, self.previous_until, now)


def valid_secrets(secret: str, previous: str | None, until: int | None, now: int) -> tuple[str, ...]:
    """List the secret, then the one before it while it holds. Times in milliseconds since the epoch."""
    return (secret, previous) if previous is not None and (until or 0) > now else (secret,)


def read_default_secret(conn: Connection, box: SecretBox, project_id: str, now: int) -> DefaultSecret:
    """Read the project's secret; if it has none yet it gets one. Needs a write transaction. DecryptionError."""
    stored = conn.scalar(_stored(project_id))
    if stored is None:
        first = box.encrypt(json.dumps(asdict(DefaultSecret(new_secret(), now, now))).encode())
        conn.execute(
            update(projects)
            .where(projects.c.id == project_id, projects.c.webhook_secret.is_(None))
            .values(webhook_secret=first)
        )
        stored = conn.scalar(_stored(project_id)) or first
    return DefaultSecret(**json.loads(box.decrypt(stored)))


def _stored(project_id: str) -> Select[bytes | None]:
    return select(projects.c.webhook_secret).where(projects.c.id == project_id)


def rotate_default_secret(
    conn: Connection, box: SecretBox, project_id: str, now: int, keep_ms: int
) -> DefaultSecret:
    """Make a new secret; the old one stays valid for `keep_ms`."""
    old = read_default_secret(conn, box, project_id, now)
    made = DefaultSecret(new_secret(), old.created_at, now)
    if keep_ms:
        made = replace(made, previous=old.secret, previous_until=now + keep_ms)
    _store(conn, box, project_id, made)
    return made


def _store(conn: Connection, box: SecretBox, project_id: str, secret: DefaultSecret) -> None:
    value = box.encrypt(json.dumps(asdict(secret)).encode())
    conn.execute(update(projects).where(projects.c.id == project_id).values(webhook_secret=value))
