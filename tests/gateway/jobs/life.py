"""The life of videos without a network: every part is real but the upstreams, which say what the test tells them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from sqlalchemy import Connection, case, func, insert, select

from billing.balance import Mode
from billing.ledger import open_balance
from billing.ledger_moves import set_terms
from billing.plans import UNLIMITED, Plan
from billing.tables import budgets
from gateway.clock import Clock
from gateway.db import BatchHandler, DatabaseUse
from gateway.db_sqlite import sqlite_engine
from gateway.events import Hints
from gateway.ids import new_id
from gateway.jobs.claims import Lease, LeaseLost, claim, load
from gateway.jobs.context import Job, JobContext
from gateway.jobs.pace import Paces
from gateway.jobs.steps import advance
from gateway.jobs.tables import jobs
from gateway.media.fetch import MediaFetcher
from gateway.media.pool import MediaTools
from gateway.principal import DEFAULT_SCOPES, Principal
from gateway.schema import METADATA
from gateway.settings import Billing, Settings
from gateway.settings import Jobs as JobsSettings
from gateway.storage import Storage
from gateway.telemetry import Metrics
from gateway.upstreams.health import Health
from gateway.upstreams.workers import Workers
from gateway.videos.create import Call, new_videos
from gateway.videos.insert import NewVideos
from gateway.videos.request import parse_create
from gateway.videos.routing import Catalogue
from gateway.videos.service import VideoService
from providers.contract import (
    Adapter,
    Completed,
    Content,
    ErrorKind,
    Failed,
    Handle,
    ProviderError,
    Running,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.spec import UpstreamSpec
from tests.gateway.media_files import make_video

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741

START: Final = datetime(2026, 11, 15, 12, tzinfo=UTC).timestamp()
BUDGET: Final = 3_000_000
ACME_SECOND, BETA_SECOND, GAMMA_GPU_SECOND, GAMMA_MOST = 100_000, 60_000, 10_000, 40
LIMIT: Final = 1_500_000
_SAID: Final = {"source": "https://acme.example/pricing", "as_of": "2026-11-01"}


def _upstream(name: str, *models: dict[str, Any], **changes: Any) -> UpstreamSpec:
    common = {"seconds": [4, 8], "sizes": ["1280x720"], "deadline_seconds": 1800}
    specs = [{**common, **model} for model in models]
    return UpstreamSpec.model_validate(
        {"name": name, "base_url": f"http://{name}.example", "models": specs, **changes}
    )


UPSTREAMS: Final = (
    _upstream(
        "acme",
        {"id": "acme/fast", "price_per_second_usd": "0.10", "charges_on_rejection": "yes"},
        pass_on_rejection_charges=True,
        max_concurrent=3,
    ),
    _upstream(
        "beta",
        {"id": "acme/fast", "price_per_second_usd": "0.06", "charges_on_rejection": "yes"},
        {"id": "beta/slow", "price_per_second_usd": "0.06", "charges_on_rejection": "yes"},
    ),
    _upstream(
        "gamma",
        {
            "id": "gamma/gpu",
            "prices": [{"unit": "gpu_second", "amount": "0.01", "max_gpu_seconds": GAMMA_MOST, **_SAID}],
        },
        pass_on_rejection_charges=True,
    ),
)
"""acme bills what its moderation refuses and that is passed on; beta bills it, too, but for the operator."""


@dataclass(frozen=True, slots=True, repr=False)
class Customer:
    """An organization, how it pays, and the fee its plan names."""

    name: str
    mode: Mode
    plan: Plan
    fee: int

    def __repr__(self) -> str:
        return self.name

    @property
    def principal(self) -> Principal:
        scopes = frozenset(DEFAULT_SCOPES)
        return replace(
            Principal(self.name, f"proj-{self.name}", f"key-{self.name}", scopes, billing_mode=self.mode),
            plan=self.plan,
        )


CUSTOMERS: Final = (
    Customer("plain", "prepaid", UNLIMITED, 0),
    Customer("feed", "prepaid", Plan(id="feed", cancel_fee_usd=Decimal("0.05"), concurrent_videos=2), 50_000),
    Customer("later", "postpaid", Plan(id="later", cancel_fee_usd=Decimal(9)), 9_000_000),
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What upstreams say in one step, and what happens `meanwhile`, at that `moment` of it."""

    submit: str = "takes"
    poll: str = "completed"
    content: str = "whole"
    cancel: str = "stops"
    lookup: str = "found"
    gpu_seconds: str | None = None
    meanwhile: str = "nothing"
    moment: str = "poll"


class OneConnection:
    """A `gateway.db.Database` of one connection: callers take turns, each write is one transaction."""

    dialect = "sqlite"

    def __init__(self, clock: Clock, template: sqlite3.Connection) -> None:
        self.conn = sqlite_engine(Path(":memory:"), clock).connect()
        raw = self.conn.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        template.backup(raw)
        self.conn.rollback()

    def now(self, fn: Callable[[Connection], T]) -> T:
        with self.conn.begin():
            return fn(self.conn)

    async def write(self, fn: Callable[[Connection], T], *, background: bool = False) -> T:
        return self.now(fn)

    async def write_batch(self, handler: BatchHandler[I, T], item: I, *, background: bool = False) -> T:
        def one(conn: Connection) -> T:
            (answer,) = handler(conn, [item])
            if isinstance(answer, Exception):
                raise answer
            return answer

        return self.now(one)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        try:
            return fn(self.conn)
        finally:
            self.conn.rollback()

    def use(self) -> DatabaseUse:
        return DatabaseUse(0, 1, 1, 0, 0)

    async def close(self) -> None:
        self.conn.close()


class Bench:
    """What many lives share: an event loop, media workers, storage, clips, an empty database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(
            data_dir=folder,
            upstreams=UPSTREAMS,
            billing=Billing(mode="prepaid"),
            jobs=JobsSettings(unknown_grace_seconds=120, lookup_wait_seconds=5),
        )
        self.loop = asyncio.Runner()
        self.catalogue = Catalogue(self.settings)
        self.metrics = Metrics()
        self.storage = Storage(f"file://{folder / 'storage'}")
        self.media = MediaTools(self.settings.limits, size=1)
        self.door = HttpDoor()
        for name in ("work", "uploads"):
            (folder / name).mkdir()
        self.clips = {
            seconds: make_video(
                folder / f"{seconds}.mp4", width=64, height=36, frames=seconds, fps=1
            ).read_bytes()
            for seconds in (2, 4, 8)
        }
        self.template = sqlite3.connect(":memory:")
        engine = sqlite_engine(folder / "template.db", Clock())
        with engine.begin() as conn:
            for metadata in METADATA:
                metadata.create_all(conn)
        with sqlite3.connect(folder / "template.db") as made:
            made.backup(self.template)
        made.close()
        engine.dispose()

    def close(self) -> None:
        async def end() -> None:
            await self.media.close()
            await self.door.close()

        self.loop.run(end())
        self.loop.close()
        self.template.close()


class Scripted:
    """An upstream that does as it is told and remembers what it did; it cannot stop a job."""

    submit_safety: SubmitSafety = "none"
    poll_interval: ClassVar[float] = 1.0

    def __init__(self, life: "Life", name: str) -> None:
        self.life = life
        self.name = name

    async def submit(self, request: VideoRequest) -> Submitted:
        await self.life.happens("submit")
        said = self.life.answers.submit
        if said in ("takes", "silence"):
            self.life.asked[request.attempt_id] = int(request.seconds)
        if said == "takes":
            return Submitted({"attempt": request.attempt_id})
        if said == "silence":
            raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "no answer", ambiguous=True)
        raise self.life.verdict(request.attempt_id, ErrorKind(said))

    async def poll(self, handle: Handle) -> Status:
        await self.life.happens("poll")
        said = self.life.answers.poll
        if said == "completed":
            told = self.life.answers.gpu_seconds
            self.life.gpu[handle["attempt"]] = None if told is None else Decimal(told)
            return Completed({"file": 1}, gpu_seconds=self.life.gpu[handle["attempt"]])
        if said == "running":
            return Running(50)
        if said in ("job_lost", "unknown_state", "provider_unavailable"):
            raise ProviderError(ErrorKind(said), said)
        return Failed(self.life.verdict(handle["attempt"], ErrorKind(said)))

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:
        await self.life.happens("content")
        said = self.life.answers.content
        if said not in ("whole", "short", "broken"):
            raise ProviderError(ErrorKind(said), said)
        seconds = 2 if said == "short" else self.life.asked[handle["attempt"]]
        self.life.made[handle["attempt"]] = seconds
        data = b"no video" if said == "broken" else self.life.bench.clips[seconds]

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        return Content("video/mp4", len(data), chunks())


class Stopping(Scripted):
    """It knows our keys, and can stop a job."""

    submit_safety: SubmitSafety = "key"

    async def cancel(self, _handle: Handle) -> None:
        if self.life.answers.cancel != "stops":
            raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "no answer")


class Searching(Scripted):
    """It can be asked for a submission whose answer was lost."""

    submit_safety: SubmitSafety = "lookup"

    async def lookup(self, request: VideoRequest) -> Submitted | None:
        if self.life.answers.lookup == "silence":
            raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "no answer")
        known = request.attempt_id in self.life.asked
        return Submitted({"attempt": request.attempt_id}) if known else None


_KINDS: Final[dict[str, type[Scripted]]] = {"acme": Stopping, "beta": Scripted, "gamma": Searching}


@dataclass(eq=False)
class Life:
    """One gateway with three customers; its time moves only when it is told to."""

    bench: Bench
    seconds: float = 0.0
    answers: Answers = Answers()
    asked: dict[str, int] = field(default_factory=dict)  # by attempt: the length an upstream was asked for
    made: dict[str, int] = field(default_factory=dict)  # by attempt: the length of the file
    gpu: dict[str, Decimal | None] = field(default_factory=dict)
    verdicts: dict[str, ErrorKind] = field(default_factory=dict)
    meddle: Callable[[str], None] = lambda _video_id: None
    leases: dict[str, Job] = field(default_factory=dict)  # the last job by video, its lease long void
    steps: list[str] = field(default_factory=list)  # video ids of the steps that now run

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: START, lambda: self.seconds)
        self.db = OneConnection(self.clock, self.bench.template)
        adapters: dict[str, Adapter] = {spec.name: _KINDS[spec.name](self, spec.name) for spec in UPSTREAMS}
        common: dict[str, Any] = {
            "catalogue": self.bench.catalogue,
            "storage": self.bench.storage,
            "media": self.bench.media,
            "hints": Hints(),
            "settings": self.bench.settings,
        }

        def adapter(spec: UpstreamSpec) -> Adapter:
            return adapters[spec.name]

        self.ctx = JobContext(
            db=self.db,
            clock=self.clock,
            fetcher=MediaFetcher(self.bench.door),
            adapter=adapter,
            workers=Workers(self.clock, self.bench.catalogue, adapter, common["hints"]),
            metrics=self.bench.metrics,
            work_dir=self.bench.folder / "work",
            paces=Paces(self.clock.monotonic),
            health=Health(self.db, self.clock, self.bench.settings.routing, self.bench.metrics),
            milestone=self._milestone,
            **common,
        )
        settings = common.pop("settings")
        uploads = self.bench.folder / "uploads"
        self.service = VideoService(self.db, self.clock, settings, **common, upload_dir=uploads)
        self.db.now(self._customers)

    def _customers(self, conn: Connection) -> None:
        for each in CUSTOMERS:
            open_balance(conn, each.name, each.mode)
            limit = LIMIT if each.mode == "postpaid" else 0
            set_terms(conn, each.name, subject=f"terms-{each.name}", now=0, credit_limit=limit)
            conn.execute(
                insert(budgets).values(
                    id=f"b-{each.name}", organization_id=each.name, scope="key", scope_id=f"key-{each.name}",
                    period="month", unit="usd", amount=BUDGET, hard=True, created_at=0,
                )
            )  # fmt: skip

    def verdict(self, attempt_id: str, kind: ErrorKind) -> ProviderError:
        """Say no, and remember it."""
        self.verdicts[attempt_id] = kind
        return ProviderError(kind, f"it says {kind}")

    async def _milestone(self, name: str, _video_id: str) -> None:
        await self.happens(name)

    async def happens(self, moment: str) -> None:
        """Let what is planned for this moment of the step happen, once."""
        if self.answers.moment != moment or self.answers.meanwhile == "nothing":
            return
        what, self.answers = self.answers.meanwhile, replace(self.answers, meanwhile="nothing")
        if what == "usurped":  # it was too slow: another worker has the job now
            self.seconds += self.bench.settings.jobs.lease_seconds + 1
            await self.work_now("other", 64)
        else:
            self.meddle(what)

    async def work(self, answers: Answers) -> bool:
        """Go to the moment when the next job is due, and run one step of it; False where nothing is left to do."""
        self.answers = answers
        at = case((jobs.c.due > jobs.c.lease_until, jobs.c.due), else_=jobs.c.lease_until)
        query = select(func.min(at)).where(jobs.c.due.is_not(None))
        due = await self.db.read(lambda conn: conn.execute(query).scalar())
        if due is None:
            return False
        self.seconds += max(0, due - self.clock.now_ms()) / 1000 + 0.001
        await self.work_now("one", 1)
        return True

    async def work_now(self, owner: str, limit: int) -> None:
        """Run one step of up to `limit` jobs that are due. A lost lease ends the step, as in the runner."""
        lease_seconds = self.bench.settings.jobs.lease_seconds
        claimed = await self.db.write(lambda conn: claim(conn, owner, int(lease_seconds * 1000), limit))
        rows = await self.db.read(lambda conn: load(conn, claimed))
        until = self.seconds + lease_seconds
        for row in claimed:
            lease = Lease(row.id, row.kind, row.state, row.fence, row.tries, self.clock, until)
            job = Job(lease, rows[row.id])
            self.leases[job.video_id] = job
            self.steps.append(job.video_id)
            try:
                await advance(self.ctx, job)
            except LeaseLost:
                pass
            finally:
                self.steps.pop()

    async def plan(self, customer: Customer, fields: Mapping[str, Any]) -> NewVideos:
        """What a create would write."""
        principal = customer.principal
        call = Call(principal, "/v1/videos", new_id("req"))
        async with self.service._planner.generate(principal, parse_create(fields)) as plan:
            ids: Sequence[str] = [new_id("video") for _ in range(plan.body.n)]
            return new_videos(call, plan, ids, [[] for _ in ids], self.clock.now_ms())
