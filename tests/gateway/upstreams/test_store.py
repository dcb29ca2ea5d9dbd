"""What is kept of credentials and removed upstreams, on each database."""

from sqlalchemy import Connection, insert, select, update

from gateway.clock import Clock
from gateway.crypto import SecretBox, new_key
from gateway.db import Database, now_ms
from gateway.events import Hints
from gateway.jobs.tables import attempts
from gateway.settings import Settings
from gateway.telemetry import Metrics
from gateway.upstreams import pauses, store
from gateway.upstreams.health import Health
from gateway.upstreams.tables import credentials, upstreams
from gateway.upstreams.watch import UpstreamWatch
from gateway.videos.routing import Catalogue
from providers.contract import ErrorKind, ProviderError


def begun(conn: Connection, version: int) -> None:
    conn.execute(
        insert(attempts).values(
            id=f"att_{version}",
            video_id=f"video_{version}",
            n=1,
            upstream="acme",
            upstream_model="m",
            state="running",
            idempotency_key="k",
            created_at=0,
            credential_version=version,
        )
    )


def ended(conn: Connection, version: int) -> None:
    conn.execute(
        update(attempts)
        .where(attempts.c.id == f"att_{version}")
        .values(state="completed", holds_upstream_slot=False, holds_key_slot=False)
    )


def long_ago(conn: Connection) -> None:
    then = now_ms() - store.GRACE_MS - 1
    conn.execute(update(upstreams).values(updated_at=then))
    conn.execute(update(upstreams).where(upstreams.c.removed_at.is_not(None)).values(removed_at=then))


async def kept(db: Database) -> list[int]:
    await db.write(store.forget_unused)
    query = select(credentials.c.version).order_by(credentials.c.version)
    return await db.read(lambda conn: list(conn.execute(query).scalars()))


async def test_credentials_are_kept_as_long_as_an_attempt_lives(db: Database) -> None:
    await db.write(lambda conn: store.add(conn, "acme", {}, "one"))
    await db.write(lambda conn: begun(conn, 1))
    for secret in ("two", "three"):
        await db.write(lambda conn, secret=secret: store.rotate(conn, store.find(conn, "acme"), secret))  # type: ignore[misc]
    assert await kept(db) == [1, 2, 3]  # another process may begin with the second at this moment
    await db.write(long_ago)
    assert await kept(db) == [1, 3]
    await db.write(lambda conn: ended(conn, 1))
    assert await kept(db) == [3]
    await db.write(lambda conn: begun(conn, 3))
    await db.write(lambda conn: store.remove(conn, "acme"))
    await db.write(long_ago)
    assert await kept(db) == [3]
    assert await db.read(lambda conn: store.is_taken(conn, "acme"))
    await db.write(lambda conn: ended(conn, 3))
    assert await kept(db) == []
    assert not await db.read(lambda conn: store.is_taken(conn, "acme"))


async def test_a_pause_for_a_refused_credential_ends_with_that_credential(db: Database, clock: Clock) -> None:
    def health_of(key: str) -> tuple[UpstreamWatch, Health]:
        table = {"name": "acme", "base_url": "http://127.0.0.1:9", "api_key": key, "models": [{"id": "m"}]}
        settings = Settings.model_validate({"upstreams": [table]})
        catalogue, health = Catalogue(settings), Health(db, clock, settings.routing, Metrics())
        return UpstreamWatch(db, SecretBox([new_key()]), catalogue, health, Hints()), health

    refusal = ProviderError(ErrorKind.PROVIDER_AUTH, "wrong key")
    watch, health = health_of("first")
    await health.locked_out("acme", "first", refusal, video_id="video_1", attempt_id="att_1")
    await watch.refresh()
    assert health.away("acme") is not None
    watch, health = health_of("second")  # restarted
    await watch.refresh()
    assert health.away("acme") is None
    await db.write(lambda conn: pauses.pause(conn, "acme", pauses.BY_OPERATOR, ""))
    watch, health = health_of("third")
    await watch.refresh()
    assert health.away("acme") is not None
