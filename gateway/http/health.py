"""Probes and metrics: /health/live, /health/ready, /metrics."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, Final, Protocol

import structlog
from litestar import Request, Response, get
from litestar.di import NamedDependency
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.db import Database, now_ms
from gateway.errors import Forbidden, Unavailable
from gateway.figures import Figures
from gateway.http.openapi import documented
from gateway.idempotency.tables import idempotency_records
from gateway.ids import new_id
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.videos.routing import Catalogue

log = structlog.get_logger(__name__)

_DB_SECONDS: Final = 1.0
_STORAGE_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 3.0
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


class Check:
    """One thing that must work, asked at most every `seconds`; None is good, else what is wrong."""

    def __init__(self, name: str, probe: Callable[[], Awaitable[None]], seconds: float) -> None:
        self.name = name
        self._probe = probe
        self._seconds = seconds
        self._until = 0.0
        self._problem: str | None = None

    async def problem(self) -> str | None:
        """Say what is wrong, by an answer that is at most `seconds` old."""
        if time.monotonic() < self._until:
            return self._problem
        self._until = time.monotonic() + self._seconds
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._probe()
        except Exception as error:
            if self._problem is None:
                log.warning("health.check_failed", check=self.name, exc_info=error)
            self._problem = f"the {self.name} cannot be written to"
        else:
            self._problem = None
        return self._problem


class Draining(Protocol):
    """What knows that the process is about to end."""

    draining: bool


class Readiness:
    """Whether this server can take a video: it can write rows and bytes, and some model has a route."""

    def __init__(self, db: Database, storage: Storage, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._checks = (
            Check("database", lambda: db.write(partial(_touch, new_id("act"))), _DB_SECONDS),
            Check("storage", storage.check, _STORAGE_SECONDS),
        )
        self._stopping: Draining | None = None

    def begin(self, stopping: "Draining") -> None:
        """From now on it may be ready, until it stops."""
        self._stopping = stopping

    async def problems(self) -> list[str]:
        """List what stands in the way; empty when ready."""
        if self._stopping is None or self._stopping.draining:
            return ["the server is starting" if self._stopping is None else "the server is stopping"]
        found = [problem for check in self._checks if (problem := await check.problem()) is not None]
        if not self._catalogue.models():
            found.append("there is no model yet: the local worker is starting, or no upstream is configured")
        return found


def health_handlers(readiness: Readiness, figures: Figures) -> list[Any]:
    """Make the handlers of one application."""

    @get("/health/live", sync_to_thread=False, summary="Liveness", tags=["health"])
    def live() -> dict[str, str]:
        """Answer while the process runs."""
        return {"status": "ok"}

    @get("/health/ready", summary="Readiness", tags=["health"])
    async def ready() -> dict[str, str]:
        """Answer 200 when a video would be accepted, else 503 with what is missing."""
        problems = await readiness.problems()
        if problems:
            raise Unavailable(f"Not ready: {'; '.join(problems)}.", code="not_ready")
        return {"status": "ok"}

    @get(
        "/metrics",
        summary="Metrics",
        tags=["health"],
        operation_class=documented(media=["text/plain"]),
    )
    async def exposition(
        request: Request[Any, Any, Any], settings: NamedDependency[Settings]
    ) -> Response[bytes]:
        """Show Prometheus metrics, to this machine or whoever holds `metrics.token`."""
        if not _may_read(request, settings):
            raise Forbidden(
                "Metrics are shown to this machine only. Set ONEREEL_METRICS__TOKEN and send it as a bearer token.",
                code="metrics_not_allowed",
            )
        text, media_type = await figures.exposition()
        return Response(text, media_type=media_type)

    return [live, ready, exposition]


def _touch(key: str, conn: Connection) -> None:
    """Prove that a row of this process's own can be written and committed: a full disk shows only then."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    mark = {"project_id": "", "method": "GET", "path": "/health/ready", "key": key}
    row = make(idempotency_records).values(
        **mark, request_hash="", status=200, response="", created_at=now_ms()
    )
    conn.execute(row.on_conflict_do_update(index_elements=list(mark), set_={"created_at": now_ms()}))


def _may_read(request: Request[Any, Any, Any], settings: Settings) -> bool:
    if settings.metrics.token is not None:
        expected = f"Bearer {settings.metrics.token.get_secret_value()}"
        if hmac.compare_digest(request.headers.get("authorization", "").encode(), expected.encode()):
            return True
    if any(name in request.headers for name in _FORWARDED):
        return False  # a proxy on this machine speaks for somebody else
    client = request.client
    try:
        return client is not None and ip_address(client.host).is_loopback
    except ValueError:
        return False
