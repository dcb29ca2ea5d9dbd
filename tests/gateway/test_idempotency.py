"""Idempotency-Key: one answer per key, in this process and between processes."""

import asyncio
from functools import partial

import pytest

from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest, RateLimited
from gateway.idempotency.service import (
    LIFETIME_MS,
    AlreadyRecordedError,
    Claim,
    Idempotency,
    claim_of,
    find,
    forget,
    purge,
    record,
)

CLAIM = Claim("proj_1", "POST", "/v1/videos", "key", "hash")


async def store(db: Database, claim: Claim = CLAIM, now: int = 1000, answer: str = "a") -> None:
    await db.write(lambda conn: record(conn, claim, 200, {"id": answer}, now))


async def test_a_record_is_found_until_it_expires(db: Database):
    await store(db)
    assert await db.read(lambda conn: find(conn, CLAIM, 2000)) == (200, {"id": "a"})
    assert await db.read(lambda conn: find(conn, CLAIM, 1000 + LIFETIME_MS)) is None
    with pytest.raises(AlreadyRecordedError):
        await store(db, now=2000)
    await store(db, now=1000 + LIFETIME_MS, answer="b")
    assert await db.read(lambda conn: find(conn, CLAIM, 1000 + LIFETIME_MS)) == (200, {"id": "b"})
    assert await db.write(lambda conn: purge(conn, 1000 + LIFETIME_MS)) == 0
    assert await db.write(lambda conn: purge(conn, 1001 + LIFETIME_MS)) == 1


async def test_scope_is_project_method_path_and_key(db: Database):
    await store(db)
    for other in (
        Claim("proj_2", "POST", "/v1/videos", "key", "other"),
        Claim("proj_1", "POST", "/v1/files", "key", "other"),
        Claim("proj_1", "POST", "/v1/videos", "key2", "other"),
    ):
        assert await db.read(partial(find, claim=other, now_ms=2000)) is None
    await db.write(lambda conn: forget(conn, CLAIM))
    assert await db.read(lambda conn: find(conn, CLAIM, 2000)) is None


async def test_another_body_is_refused(db: Database):
    await store(db)
    other = Claim(*CLAIM.slot, request_hash="other")
    with pytest.raises(BadRequest) as refused:
        await db.read(lambda conn: find(conn, other, 2000))
    assert (refused.value.code, refused.value.status) == ("idempotency_key_reused", 400)


async def test_the_guard_lets_one_through_and_gives_the_others_its_answer(db: Database, clock: Clock):
    guard, begun, made = Idempotency(db, clock), asyncio.Event(), []

    async def slow() -> str:
        async with guard.guard(CLAIM) as stored:
            if stored is not None:
                return str(stored[1]["id"])
            begun.set()
            await asyncio.sleep(0.05)
            made.append(1)
            await store(db, now=clock.now_ms(), answer="made")
            return "made"

    assert list(await asyncio.gather(slow(), slow(), slow())) == ["made"] * 3
    assert len(made) == 1


async def test_a_failed_request_frees_the_key(db: Database, clock: Clock):
    guard = Idempotency(db, clock)
    with pytest.raises(ValueError, match="no"):
        async with guard.guard(CLAIM):
            raise ValueError("no")
    async with guard.guard(CLAIM) as stored:
        assert stored is None


async def test_waiting_too_long_is_429(db: Database, clock: Clock):
    guard = Idempotency(db, clock, wait_seconds=0.02)
    async with guard.guard(CLAIM):
        with pytest.raises(RateLimited) as refused:
            async with guard.guard(CLAIM):
                pass
    assert refused.value.headers["Retry-After"] == "1"


async def test_another_process_that_commits_first_wins(db: Database, clock: Clock):
    guard = Idempotency(db, clock)

    async def beaten() -> tuple[int, dict[str, object]]:
        await store(db, now=clock.now_ms(), answer="theirs")
        await store(db, now=clock.now_ms(), answer="ours")
        return 200, {"id": "ours"}

    assert await guard.run(CLAIM, beaten) == (200, {"id": "theirs"})
    with pytest.raises(RateLimited):
        async with guard.guard(CLAIM):
            raise AlreadyRecordedError(CLAIM.key)
    assert await guard.run(None, _answer) == (200, {})


async def _answer() -> tuple[int, dict[str, object]]:
    return 200, {}


def test_headers():
    assert claim_of("p", "POST", "/", None, "h") is None
    assert claim_of("p", "POST", "/", "k", "h") == Claim("p", "POST", "/", "k", "h")
    for bad in ("", "k" * 256):
        with pytest.raises(BadRequest):
            claim_of("p", "POST", "/", bad, "h")
