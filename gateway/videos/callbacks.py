"""Upstreams may call back when a job changes. A call only makes its job due now: polling stays the truth."""

from sqlalchemy import Connection, select, update

from gateway.crypto import SecretBox
from gateway.db import Database, now_ms
from gateway.events import Hints
from gateway.jobs.tables import attempts, jobs
from gateway.videos.states import State

PATH = "/v1/callbacks"


class Callbacks:
    """Addresses that cannot be guessed, one per attempt; none without `public_url` (ONEREEL_PUBLIC_URL)."""

    def __init__(self, db: Database, secrets: SecretBox, hints: Hints, public_url: str | None) -> None:
        self._db = db
        self._secrets = secrets
        self._hints = hints
        self._public_url = public_url.rstrip("/") if public_url else None

    def url(self, attempt_id: str) -> str | None:
        """Where the upstream of this attempt may call."""
        if self._public_url is None:
            return None
        return f"{self._public_url}{PATH}/{attempt_id}/{self._secrets.signature(attempt_id)}"

    async def nudge(self, attempt_id: str, token: str) -> bool:
        """Poll the attempt's job now; False for an address we never gave out. Any number of times is harmless."""
        if not self._secrets.is_signature(attempt_id, token):
            return False
        await self._db.write(lambda conn: _make_due(conn, attempt_id))
        self._hints.jobs.set()
        return True


def _make_due(conn: Connection, attempt_id: str) -> None:
    video_id = select(attempts.c.video_id).where(attempts.c.id == attempt_id).scalar_subquery()
    conn.execute(
        update(jobs)
        .where(jobs.c.id.in_([video_id, attempt_id]), jobs.c.state.in_([State.RUNNING, "watching"]))
        .where(jobs.c.due > now_ms())
        .values(due=now_ms())
    )
