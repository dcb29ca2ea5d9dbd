"""Keeps one process up to date: the upstreams of the database in its catalogue, their standing in its view."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection

from gateway.crypto import DecryptionError, SecretBox
from gateway.db import Database
from gateway.events import Hints
from gateway.upstreams import pauses, store
from gateway.upstreams.health import Health
from gateway.upstreams.store import Stored
from gateway.videos.routing import Catalogue
from providers.configured import configured
from providers.spec import UpstreamSpec

log = structlog.get_logger(__name__)

SECONDS: Final = 1.0
_TIDY_EVERY: Final = 30  # rounds


class UpstreamWatch:
    """Reads once a second what any process may have changed. `refresh` does it at once."""

    def __init__(
        self, db: Database, secrets: SecretBox, catalogue: Catalogue, health: Health, hints: Hints
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._catalogue = catalogue
        self._health = health
        self._hints = hints
        self._stamps: frozenset[tuple[str, int, int]] = frozenset()
        self._specs: dict[tuple[str, int, int, int], UpstreamSpec] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`; an error of the database is logged and tried again."""
        rounds = 0
        while not self._stopping.is_set():
            rounds += 1
            try:
                await self.refresh()
                if rounds % _TIDY_EVERY == 0 and self._stamps and await self._db.write(store.forget_unused):
                    await self._reload()
            except Exception:
                log.exception("upstreams_not_read")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), SECONDS)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def refresh(self) -> None:
        """See what has changed."""
        if await self._db.read(store.stamps) != self._stamps:
            await self._reload()
        credentials = {each.name: each.credential for each in self._catalogue.upstreams()}
        self._health.names = frozenset(credentials)
        await self._health.refresh()
        for name in self._health.outdated_pauses(credentials):
            await self._resume(name)

    async def _resume(self, name: str) -> None:
        """Its credential was refused and has been replaced since, in onereel.toml say."""
        if await self._db.write(lambda conn: pauses.resume(conn, name, automatic_only=True)):
            log.info("upstream_resumed", upstream=name, reason="it has another credential now")
        await self._health.refresh()

    async def _reload(self) -> None:
        def read(conn: Connection) -> tuple[frozenset[tuple[str, int, int]], Stored]:
            return store.stamps(conn), store.load(conn)

        stamps, stored = await self._db.read(read)
        offered: list[UpstreamSpec] = []
        withdrawn: list[UpstreamSpec] = []
        older: dict[tuple[str, int], UpstreamSpec] = {}
        specs: dict[tuple[str, int, int, int], UpstreamSpec] = {}
        for row in stored.rows:
            versions = {version for name, version in stored.secrets if name == row.name}
            for version in sorted(versions | {row.credential_version}):
                key = (row.name, row.created_at, row.revision, version)
                spec = self._specs.get(key) or self._made(row, version, stored.secrets)
                if spec is None:
                    continue
                specs[key] = spec
                if spec.credential_version is not None:
                    older[row.name, version] = spec
                if version == row.credential_version:
                    (offered if row.removed_at is None else withdrawn).append(spec)
        self._specs = specs
        self._catalogue.replace_stored(offered, withdrawn, older)
        self._stamps = stamps
        self._hints.jobs.set()

    def _made(self, row: Any, version: int, secrets: Mapping[tuple[str, int], str]) -> UpstreamSpec | None:
        """One that cannot be read is left out and told of: the others must go on."""
        try:
            spec = configured({**row.settings, "name": row.name})
            token = secrets.get((row.name, version))
            if token is None:
                return spec
            return spec.with_credential(self._secrets.decrypt(token.encode()).decode(), version)
        except (ValidationError, ValueError, DecryptionError) as error:
            log.error("upstream_unusable", upstream=row.name, error=str(error))  # noqa: TRY400  (no traceback: no secret)
            return None
