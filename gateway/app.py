"""The composition root: builds every part of one process, starts and stops what runs beside the requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import NotFoundException
from litestar.middleware import DefineMiddleware

from gateway.adapters import Adapters
from gateway.audit.service import AuditService
from gateway.background import Runs
from gateway.billing.included import CreditUpkeep
from gateway.billing.meter_outbox import MeterOutbox
from gateway.billing.recharge import Recharges
from gateway.billing.service import BillingService
from gateway.billing.stripe import StripeService
from gateway.billing.stripe_account import Account
from gateway.billing.trail import MoneyTrail
from gateway.bus import RedisBus
from gateway.clock import Clock
from gateway.crypto import open_secret_box
from gateway.dashboard.assets import asset
from gateway.dashboard.failures import unknown_page
from gateway.dashboard.page import Pages
from gateway.dashboard.router import dashboard
from gateway.db import Database
from gateway.db_open import open_database
from gateway.events import Hints
from gateway.figures import Figures
from gateway.files.service import FileService
from gateway.group import Group
from gateway.http.auth import Authentication, provide_principal
from gateway.http.controllers import CONTROLLERS
from gateway.http.dependencies import provided, resolve_in_turn
from gateway.http.docs import docs_handlers
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.http.health import Readiness, health_handlers
from gateway.http.openapi import openapi_config
from gateway.http.request_id import RequestContext
from gateway.http.urls import WithoutNul
from gateway.idempotency.service import Idempotency
from gateway.jobs.context import JobContext, Milestone, no_milestone
from gateway.jobs.outbox import Outbox
from gateway.jobs.pace import Paces
from gateway.jobs.runner import Runner
from gateway.keys.limits import RequestLimits
from gateway.keys.service import KeyService
from gateway.local_worker import LocalWorker, Place, wanted
from gateway.logs import configure_logging
from gateway.media.fetch import MediaFetcher
from gateway.media.identity import SigningIdentity
from gateway.media.pool import MediaTools
from gateway.members.invitations import Invitations
from gateway.members.oidc import OidcMembers, OidcProvider
from gateway.members.passwords import Passwords
from gateway.members.service import MemberService
from gateway.members.sessions import Sessions
from gateway.presence import Presence
from gateway.process import Process, Stopping
from gateway.retention import Retention
from gateway.services import Services
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.telemetry import Metrics
from gateway.telemetry_group import SharedMetrics
from gateway.telemetry_process import LoopLag
from gateway.tracing import carried, open_tracing
from gateway.upstreams.health import Health
from gateway.upstreams.service import UpstreamService
from gateway.upstreams.unresolved import Unresolved
from gateway.upstreams.watch import UpstreamWatch
from gateway.upstreams.work import Work
from gateway.upstreams.workers import Workers
from gateway.usage.overview import OverviewService
from gateway.usage.reconciliation import Reconciliation
from gateway.usage.service import UsageService
from gateway.videos.callbacks import Callbacks
from gateway.videos.content import VideoContent
from gateway.videos.following import Following
from gateway.videos.input_links import InputLinks
from gateway.videos.routing import Catalogue
from gateway.videos.service import VideoService
from gateway.videos.sharing import Sharing
from gateway.webhooks.sending import Sender
from gateway.webhooks.service import WebhookService
from providers.http import HttpDoor
from providers.registry import build_adapter
from providers.sockets import Resolver, system_addresses

VERSION: Final = version("onereel")


def create_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    milestone: Milestone | None = None,
    resolve: Resolver = system_addresses,
    group: Group | None = None,
) -> Litestar:
    """Build the application; what runs beside the requests starts and ends with its lifespan.

    `milestone` is called where a crash matters (see `gateway.jobs.context`); `resolve` finds the addresses
    of strangers' URLs and of the servers of a fleet; `group` is what the processes of one `serve` have in common.
    """
    configure_logging(settings.log_format, settings.log_level)
    process = _build(settings, clock or Clock(), milestone or no_milestone, resolve=resolve, group=group)
    services, pages = process.services, Pages(settings)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        async with process.running():
            yield

    app = Litestar(
        route_handlers=[
            *(
                (*CONTROLLERS, *docs_handlers(), asset, dashboard(services, pages))
                if "api" in settings.roles
                else ()
            ),
            *health_handlers(process.readiness, process.figures),
        ],
        dependencies={
            **provided(services.by_name()),
            "principal": Provide(provide_principal, sync_to_thread=False),
        },
        middleware=[
            DefineMiddleware(WithoutNul),
            DefineMiddleware(Authentication, keys=services.keys, limits=services.limits),
        ],
        exception_handlers={**EXCEPTION_HANDLERS, NotFoundException: unknown_page(pages)},
        openapi_config=openapi_config(VERSION),
        logging_config=None,
        request_max_body_size=settings.limits.json_bytes,
        lifespan=[lifespan],
        state=State({"stopping": process.stopping}),
    )
    resolve_in_turn(app)
    # Around routing, so that unknown paths and wrong methods get their request id too.
    app.asgi_handler = RequestContext(
        app.asgi_handler, services.metrics, services.hints, process.stopping, services.tracing
    )
    return app


def _build(
    settings: Settings, clock: Clock, milestone: Milestone, *, resolve: Resolver, group: Group | None
) -> Process:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upload_dir, work_dir = settings.data_dir / "uploads", settings.data_dir / "work"
    for folder in (upload_dir, work_dir):
        folder.mkdir(exist_ok=True)
    db = open_database(settings, clock)
    storage = Storage(settings.resolved_storage_url)
    media = MediaTools(settings.limits, size=settings.media.workers)
    catalogue, hints, metrics = Catalogue(settings, today=clock.today), Hints(), Metrics()
    bus = RedisBus(settings.redis_url, settings.redis_prefix, hints, metrics) if settings.redis_url else None
    presence = Presence(db, settings.roles, VERSION, metrics)
    tracing = open_tracing(settings.tracing, metrics.spans)
    door = HttpDoor(
        allowed_private_hosts=settings.security.allowed_private_hosts, resolver=resolve, traceparent=carried
    )
    secrets = open_secret_box(settings)
    health = Health(db, clock, settings.routing, metrics)
    watch = UpstreamWatch(db, secrets, catalogue, health, hints)
    adapters = Adapters(partial(build_adapter, http=door))
    workers = Workers(clock, catalogue, adapters, hints, resolve)
    account = Account(db, clock, settings.stripe)
    keys, limits, passwords = (
        KeyService(db, clock, settings, hints),
        RequestLimits(settings, bus, presence),
        Passwords(),
    )
    services = Services(
        settings=settings,
        clock=clock,
        db=db,
        storage=storage,
        media=media,
        catalogue=catalogue,
        keys=keys,
        limits=limits,
        sessions=Sessions(db, clock, keys),
        members=MemberService(db, clock, limits, passwords),
        invitations=Invitations(db, clock, secrets, passwords),
        oidc=OidcProvider(settings.oidc, door, clock, secrets),
        oidc_members=OidcMembers(db, clock, settings.oidc),
        idempotency=Idempotency(db, clock),
        videos=VideoService(
            db,
            clock,
            settings,
            catalogue=catalogue,
            storage=storage,
            media=media,
            hints=hints,
            upload_dir=upload_dir,
            metrics=metrics,
        ),
        content=VideoContent(db, storage, media, clock),
        sharing=Sharing(db, clock),
        trail=MoneyTrail(db),
        files=FileService(db, storage, media, clock),
        webhooks=WebhookService(
            db, clock, secrets=secrets, sender=Sender(door), settings=settings, hints=hints
        ),
        billing=BillingService(db, clock, settings),
        usage=UsageService(db, clock),
        overviews=OverviewService(db, clock),
        audit=AuditService(db),
        reconciliation=Reconciliation(db, clock),
        callbacks=Callbacks(db, secrets, hints, settings.public_url, catalogue=catalogue, adapter=adapters),
        stripe=StripeService(db, clock, account, public_url=settings.public_url),
        hints=hints,
        metrics=metrics,
        tracing=tracing,
        inputs=InputLinks(db, clock, secrets, settings.public_url),
        work=Work(db, clock, catalogue, workers, adapters),
        unresolved=Unresolved(db, clock, hints, settings.jobs.unknown_grace_seconds),
        upstreams=UpstreamService(
            db,
            clock,
            secrets=secrets,
            catalogue=catalogue,
            health=health,
            watch=watch,
            workers=workers,
            adapter=adapters,
        ),
        upload_dir=upload_dir,
    )
    context = JobContext(
        db=db,
        clock=clock,
        storage=storage,
        media=media,
        fetcher=MediaFetcher(door),
        catalogue=catalogue,
        adapter=adapters,
        hints=hints,
        settings=settings,
        metrics=metrics,
        work_dir=work_dir,
        paces=Paces(clock.monotonic),
        health=health,
        workers=workers,
        identity=SigningIdentity(settings) if settings.provenance.c2pa != "off" else None,
        callback_url=services.callbacks.url,
        input_url=services.inputs.url,
        milestone=milestone,
        tracing=tracing,
    )
    outbox = Outbox(
        db,
        door,
        clock=clock,
        secrets=secrets,
        settings=settings,
        hints=hints,
        metrics=metrics,
        tracing=tracing,
    )
    retention = Retention(db, storage, clock, settings, folders=(upload_dir, work_dir))
    local = _local_worker(settings, services, group.place if group else None)
    background: list[Runs] = [
        retention,
        CreditUpkeep(db, clock, settings),
        outbox,
        *_collecting(db, clock, account, metrics),
        *local,
        Runner(context),
    ]
    readiness = Readiness(db, storage, catalogue)
    shared = SharedMetrics(group.metrics, metrics) if group else None
    active = (
        *(LoopLag(metrics), presence, watch, workers, *([bus] if bus else ()), *([shared] if shared else ())),
        *([Following(db, hints, services.keys)] if "api" in settings.roles else ()),
        *(background if "jobs" in settings.roles else ()),
    )
    closing = (tracing.close, db.close, door.close, media.close, account.close)
    worker = local[0].exposition if local else None
    figures = Figures(
        db,
        clock,
        metrics,
        upstreams=catalogue.upstreams,
        servers=workers.servers,
        worker=worker,
        shared=shared,
    )
    speaks = group is None or group.speaks
    return Process(
        services, closing, active, readiness, figures, watch.refresh, Stopping(hints), speaks=speaks
    )


def _collecting(db: Database, clock: Clock, account: Account, metrics: Metrics) -> list[Runs]:
    """What runs beside the requests where Stripe is configured."""
    if not account.configured:
        return []
    stripe, event_name = account.stripe, account.settings.meter_event_name
    return [MeterOutbox(db, clock, stripe, event_name, metrics), Recharges(db, stripe)]


def _local_worker(settings: Settings, services: Services, place: Place | None) -> list[LocalWorker]:
    """Offer the worker's models at once: jobs wait in the queue while it starts. It runs beside the jobs."""
    if not wanted(settings) or (place is None and "jobs" not in settings.roles):
        return []
    worker = LocalWorker(settings, place=place, on_ready=lambda _: services.hints.jobs.set())
    services.catalogue.add_upstream(worker.upstream)
    return [worker]
