"""The claim loop: take what is due, run one step each, sleep until something is due or a hint comes."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, bindparam, func, select

from gateway.db import now_ms
from gateway.db_group import DatabaseAway
from gateway.ids import new_id
from gateway.jobs import slots
from gateway.jobs.claims import (
    ASKED,
    KNOWN_STATES,
    Lease,
    LeaseLost,
    Loaded,
    claim,
    give_back,
    load,
    renew,
    take_over_everything,
)
from gateway.jobs.context import Job, JobContext
from gateway.jobs.outcome import try_later
from gateway.jobs.pace import Courtesy
from gateway.jobs.settle import add_notice, database_now
from gateway.jobs.steps import advance
from gateway.jobs.tables import jobs
from gateway.logs import video_context

log = structlog.get_logger(__name__)

LONGEST_SLEEP = 1.0  # seconds; due jobs of other processes are seen at the latest after this
VERIFY_SECONDS = 60.0
WAKE_SECONDS = 10.0
POLLS: Final = 4
"""Times `concurrency`: so many jobs at once where most of them only ask an upstream."""
_LAST_CLAIM_SECONDS: Final = 5.0


_NEXT_DUE: Final = select(func.min(jobs.c.due) - now_ms()).where(
    jobs.c.due.is_not(None),
    jobs.c.lease_until <= now_ms(),
    jobs.c.state.in_(bindparam("states", expanding=True)),
)
_BESIDE: Final = sorted(set(KNOWN_STATES) - set(ASKED))


class Runner:
    """Runs jobs of this process. Any number of runners may share a database."""

    def __init__(self, ctx: JobContext) -> None:
        self._ctx = ctx
        self._owner = new_id("act")
        self._running: dict[str, tuple[Lease, asyncio.Task[None]]] = {}
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._claimed_last = asyncio.Event()
        self._claimed_last.set()
        self._full = False
        self._courtesy = Courtesy(ctx.hints)

    async def run(self) -> None:
        """Until `stop`; an error of the database is logged and tried again."""
        if self._ctx.db.dialect == "sqlite":
            grace_ms = int(self._ctx.settings.jobs.unknown_grace_seconds * 1000)
            await self._ctx.db.write(lambda conn: take_over_everything(conn, 15_000, grace_ms))
        beside = [
            asyncio.create_task(self._every(self._ctx.settings.jobs.renew_seconds, self._renew)),
            asyncio.create_task(self._every(VERIFY_SECONDS, self._verify)),
            asyncio.create_task(self._every(WAKE_SECONDS, self._wake_parked)),
        ]
        self._claimed_last.clear()
        try:
            while not self._stopping.is_set():
                try:
                    await self._turn()
                except Exception:
                    log.exception("claim_failed")
                    await self._sleep(LONGEST_SLEEP)
        finally:
            self._claimed_last.set()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def stop(self) -> None:
        """Claim nothing more, let short steps finish, hand the rest to whoever comes next."""
        self._stopping.set()
        self._ctx.hints.jobs.set()
        self._room.set()
        with contextlib.suppress(TimeoutError):  # a claim on its way starts its jobs first: they count too
            await asyncio.wait_for(self._claimed_last.wait(), _LAST_CLAIM_SECONDS)
        tasks = [task for _, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=self._ctx.settings.jobs.shutdown_grace_seconds)
        left = [(lease, task) for lease, task in self._running.values() if not task.done()]
        for _, task in left:
            task.cancel()
        await asyncio.gather(*(task for _, task in left), return_exceptions=True)
        if left:
            await self._give_back([lease for lease, _ in left])

    async def _give_back(self, leases: Sequence[Lease]) -> None:
        try:
            await self._ctx.db.write(lambda conn: give_back(conn, leases))
        except DatabaseAway as error:
            log.warning("jobs_left_to_their_leases", count=len(leases), error=str(error))

    async def _turn(self) -> None:
        ctx = self._ctx
        ctx.hints.jobs.clear()
        wanted = self._wanted()
        if not wanted:
            self._room.clear()
            await self._room.wait()
            await self._courtesy.pause()
            return
        started = ctx.clock.monotonic()
        lease_ms = int(ctx.settings.jobs.lease_seconds * 1000)

        def take(conn: Connection) -> tuple[Sequence[Row[Any]], dict[str, Loaded], float]:
            each = [(claim(conn, self._owner, lease_ms, most, states), most) for states, most in wanted]
            claimed = [row for rows, _ in each for row in rows]
            idle = all(len(rows) < most for rows, most in each)
            rest = _until_due(conn, [state for states, _ in wanted for state in states]) if idle else 0.0
            return claimed, load(conn, claimed) if claimed else {}, rest

        claimed, rows, rest = await ctx.db.write(take, background=True)
        ctx.metrics.jobs_claimed(len(claimed))
        for row in claimed:
            self._start(row, rows.get(row.id), started + ctx.settings.jobs.lease_seconds)
        if rest:
            await self._sleep(rest)
        await self._courtesy.pause()

    def _wanted(self) -> list[tuple[list[str], int]]:
        """How many jobs there is room for, by their states. Creates and downloads never keep polls waiting."""
        running = len(self._running)
        asked = sum(lease.state in ASKED for lease, _ in self._running.values())
        concurrency = self._ctx.settings.jobs.concurrency
        rooms = ((ASKED, POLLS * concurrency - running), (_BESIDE, concurrency - running + asked))
        self._full = rooms[1][1] <= 0
        return [(states, min(room, self._courtesy.most)) for states, room in rooms if room > 0]

    def _start(self, row: Row[Any], rows: Loaded | None, valid_until: float) -> None:
        if rows is None:
            log.error("job_without_video", job_id=row.id)
            return
        if row.id in self._running:
            earlier, task = self._running.pop(row.id)
            earlier.lost = True
            task.cancel()
        lease = Lease(row.id, row.kind, row.state, row.fence, row.tries, self._ctx.clock, valid_until)
        task = asyncio.create_task(self._step(Job(lease, rows)))
        self._running[row.id] = (lease, task)
        self._count()

    async def _step(self, job: Job) -> None:
        try:
            with video_context(job.video_id):
                await self._guarded(job)
        finally:
            held = self._running.get(job.lease.job_id)
            if held is not None and held[0] is job.lease:
                del self._running[job.lease.job_id]
            self._count()
            self._room.set()
            if self._full:
                self._ctx.hints.jobs.set()  # the loop may be asleep until the next poll

    def _count(self) -> None:
        self._ctx.metrics.set_running(len(self._running), self._ctx.settings.jobs.concurrency)

    async def _guarded(self, job: Job) -> None:
        """No exception loses a job: what a step did not foresee is logged and tried again."""
        try:
            await advance(self._ctx, job)
        except LeaseLost:
            log.info("lease_lost", job_id=job.lease.job_id)
        except DatabaseAway as error:
            log.warning("step_interrupted", job_id=job.lease.job_id, state=job.lease.state, error=str(error))
            await self._again(job)
        except Exception:
            log.exception("step_failed", job_id=job.lease.job_id, state=job.lease.state)
            await self._again(job)

    async def _again(self, job: Job) -> None:
        """Hand it back for later; where not even that can be written, its lease runs out and another takes it."""
        try:
            await try_later(self._ctx, job)
        except LeaseLost:
            log.info("lease_lost", job_id=job.lease.job_id)
        except Exception as error:
            log.warning("job_left_to_its_lease", job_id=job.lease.job_id, error=str(error))

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ctx.hints.jobs.wait(), seconds)

    async def _every(self, seconds: float, action: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await action()
            except Exception:
                log.exception("upkeep_failed")

    async def _renew(self) -> None:
        ctx = self._ctx
        leases = [lease for lease, _ in self._running.values()]
        if not leases:
            return
        started = ctx.clock.monotonic()
        lease_ms = int(ctx.settings.jobs.lease_seconds * 1000)
        kept = await ctx.db.write(lambda conn: renew(conn, self._owner, leases, lease_ms))
        for lease in leases:
            if (lease.job_id, lease.fence) in kept:
                lease.valid_until = started + ctx.settings.jobs.lease_seconds
                continue
            held = self._running.get(lease.job_id)
            if held is not None and held[0] is lease and not held[1].done():
                # ended or given up meanwhile, or taken by another worker: either way not ours any more
                lease.lost = True

    async def _verify(self) -> None:
        def correct(conn: Connection) -> list[str]:
            wrong = slots.verify(conn)
            for message in wrong:
                add_notice(conn, "slot_counter", message, database_now(conn))
            return wrong

        for message in await self._ctx.db.write(correct, background=True):
            log.error("slot_counter_wrong", message=message)

    async def _wake_parked(self) -> None:
        if await self._ctx.db.write(lambda conn: slots.wake_parked(conn, 4), background=True):
            self._ctx.hints.jobs.set()


def _until_due(conn: Connection, states: Sequence[str]) -> float:
    """Seconds until a job in one of these states is due, at least a moment and at most LONGEST_SLEEP."""
    wait_ms: int | None = conn.execute(_NEXT_DUE, {"states": states}).scalar_one()
    return LONGEST_SLEEP if wait_ms is None else min(LONGEST_SLEEP, max(0.001, wait_ms / 1000))
