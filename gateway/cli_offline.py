"""Commands that open the database themselves."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.billing.service import BillingService
from gateway.cli_terminal import CommandError, say
from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.keys.service import KeyService
from gateway.keys.tokens import first_key_notice
from gateway.lock import DataLock
from gateway.migrate import ensure_schema
from gateway.settings import Settings


@asynccontextmanager
async def offline_keys(settings: Settings) -> AsyncIterator[KeyService]:
    """The key service without a server, on a bootstrapped database. CommandError while a server has SQLite."""
    async with _offline(settings) as (_, keys):
        yield keys


@asynccontextmanager
async def offline_billing(settings: Settings) -> AsyncIterator[BillingService]:
    """The billing service, likewise."""
    async with _offline(settings) as (db, _):
        yield BillingService(db, Clock(), settings)


@asynccontextmanager
async def offline_database(settings: Settings) -> AsyncIterator[Database]:
    """The database itself, likewise."""
    async with _offline(settings) as (db, _):
        yield db


@asynccontextmanager
async def _offline(settings: Settings) -> AsyncIterator[tuple[Database, KeyService]]:
    lock = DataLock(settings.data_dir)
    if not settings.resolved_database_url.startswith("postgresql") and not lock.acquire():
        raise CommandError("A server has just started on this data directory; run the command again.")
    try:
        await ensure_schema(settings)
        async with _database(settings) as db:
            keys = KeyService(db, Clock(), settings)
            admin_key = await keys.bootstrap()
            if admin_key is not None:
                say(first_key_notice(admin_key))
            yield db, keys
    finally:
        lock.release()


async def verify_ledger(settings: Settings) -> list[str]:
    """What is wrong with the books. Only reads, so a running server is no obstacle."""
    from gateway.billing.audit import audit

    await ensure_schema(settings)
    async with _database(settings) as db:
        return [str(problem) for problem in await db.read(audit)]


async def reconciliation_pages(settings: Settings, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object of the reconciliation, by the parameters of /v1/billing/reconciliation. Only reads."""
    from gateway.usage.query import Asked
    from gateway.usage.reconciliation import Reconciliation

    await ensure_schema(settings)
    found: list[dict[str, Any]] = []
    page: str | None = None
    lists = {name: [asked[name]] for name in ("organization_ids",) if name in asked}
    async with _database(settings) as db:
        service = Reconciliation(db, Clock())
        while True:
            query = Asked(asked["start_time"], asked["end_time"], page=page, lists=lists)
            if asked["by"] == "video":
                text = await service.videos(query, different="different" in asked)
            else:
                text = await service.days(query)
            body = json.loads(text)
            found += body["data"]
            page = body["next_page"]
            if page is None:
                return found


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings, Clock())
    try:
        yield db
    finally:
        await db.close()
