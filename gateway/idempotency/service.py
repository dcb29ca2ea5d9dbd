"""Idempotency-Key: an accepted POST is answered once; for 24 hours a repeat gets the stored answer.

Within a process a repeat waits for the request in flight. Between processes the primary key of the record decides:
`record` runs inside the create transaction, so whoever commits second creates nothing and reads the first answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest, RateLimited
from gateway.idempotency.tables import idempotency_records as records

LIFETIME_MS: Final = 24 * 3600 * 1000
WAIT_SECONDS: Final = 10.0
MAX_KEY_CHARS: Final = 255

Answer = tuple[int, dict[str, Any]]
"""HTTP status and JSON body."""

_Slot = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """One POST with an Idempotency-Key; `request_hash` is hex SHA-256 over its canonical body."""

    project_id: str
    method: str
    path: str
    key: str
    request_hash: str

    @property
    def slot(self) -> _Slot:
        """What must be unique."""
        return (self.project_id, self.method, self.path, self.key)


class AlreadyRecordedError(Exception):
    """Another process answered this key first; nothing of this transaction may stay."""


def claim_of(project_id: str, method: str, path: str, key: str | None, request_hash: str) -> Claim | None:
    """Read the claim of a request from its Idempotency-Key header, None without one. BadRequest for an unusable key."""
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise BadRequest(
            f"The Idempotency-Key header must have 1 to {MAX_KEY_CHARS} characters; send a UUID.",
            param="Idempotency-Key",
        )
    return Claim(project_id, method, path, key, request_hash)


def record(conn: Connection, claim: Claim | None, status: int, response: dict[str, Any], now_ms: int) -> None:
    """Store the answer of an accepted request. AlreadyRecordedError if a live record has the key."""
    if claim is None:
        return
    values = {
        "project_id": claim.project_id,
        "method": claim.method,
        "path": claim.path,
        "key": claim.key,
        "request_hash": claim.request_hash,
        "status": status,
        "response": json.dumps(response, separators=(",", ":")),
        "created_at": now_ms,
    }
    keys = ["project_id", "method", "path", "key"]
    changed = {name: value for name, value in values.items() if name not in keys}
    expired = records.c.created_at <= now_ms - LIFETIME_MS
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement = insert(records).values(values)
    result = conn.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=changed, where=expired).returning(
            records.c.key
        )
    )
    if result.first() is None:
        raise AlreadyRecordedError(claim.key)


def forget(conn: Connection, claim: Claim | None) -> None:
    """Take back a record of the same transaction: the request was refused after all."""
    if claim is not None:
        conn.execute(delete(records).where(_at(claim)))


def find(conn: Connection, claim: Claim, now_ms: int) -> Answer | None:
    """Read the stored answer, None if there is none. BadRequest if the key was used with another body."""
    row = conn.execute(
        select(records.c.request_hash, records.c.status, records.c.response).where(
            _at(claim), records.c.created_at > now_ms - LIFETIME_MS
        )
    ).first()
    if row is None:
        return None
    if row.request_hash != claim.request_hash:
        raise BadRequest(
            "This Idempotency-Key was already used with a different request. "
            "Send a new key, or the same body as before.",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    return row.status, json.loads(row.response)


def purge(conn: Connection, before_ms: int) -> int:
    """Delete records created before the time (milliseconds since the epoch); how many they were."""
    return conn.execute(delete(records).where(records.c.created_at < before_ms)).rowcount


class Idempotency:
    """Lets one request per key through and gives the others its answer."""

    def __init__(self, db: Database, clock: Clock, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._db = db
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._in_flight: dict[_Slot, asyncio.Event] = {}

    @asynccontextmanager
    async def guard(self, claim: Claim | None) -> AsyncIterator[Answer | None]:
        """Yield the earlier answer, or None when the request is to be carried out now.

        BadRequest for a key used with another body; RateLimited when the first request takes longer than the
        wait, or when another process commits first (the client's retry then gets the stored answer).
        """
        if claim is None:
            yield None
            return
        done = await self._enter(claim)
        try:
            stored = await self._find(claim)
            try:
                yield stored
            except AlreadyRecordedError:
                await self._find(claim)
                raise _busy() from None
        finally:
            del self._in_flight[claim.slot]
            done.set()

    async def run(self, claim: Claim | None, action: Callable[[], Awaitable[Answer]]) -> Answer:
        """Give the stored answer, or that of `action`, which must `record` the claim in its transaction.

        Unlike `guard` this also re-reads the answer that another process stored meanwhile.
        """
        async with self.guard(claim) as stored:
            if stored is not None:
                return stored
            try:
                return await action()
            except AlreadyRecordedError:
                answer = None if claim is None else await self._find(claim)
                if answer is None:
                    raise _busy() from None
                return answer

    async def _enter(self, claim: Claim) -> asyncio.Event:
        """Take the key in this process; waits for its present holder. RateLimited after the wait."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                while (running := self._in_flight.get(claim.slot)) is not None:
                    await running.wait()
        except TimeoutError:
            raise _busy() from None
        done = self._in_flight[claim.slot] = asyncio.Event()
        return done

    async def _find(self, claim: Claim) -> Answer | None:
        now = self._clock.now_ms()
        return await self._db.read(lambda conn: find(conn, claim, now))


def _at(claim: Claim) -> ColumnElement[bool]:
    c = records.c
    project, method, path, key = claim.slot
    return and_(c.project_id == project, c.method == method, c.path == path, c.key == key)


def _busy() -> RateLimited:
    return RateLimited(
        "A request with this Idempotency-Key is still being processed; retry in a second.", retry_after=1
    )
