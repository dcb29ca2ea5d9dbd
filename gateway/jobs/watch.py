"""A video is over, its attempt is not: see the upstream to its end, keep its slot, book its cost."""

import structlog
from sqlalchemy import Connection

from gateway.jobs import costs
from gateway.jobs.calls import called
from gateway.jobs.claims import end
from gateway.jobs.context import Job, JobContext, backoff, poll_delay
from gateway.jobs.outcome import try_later
from gateway.jobs.routes import route_of_attempt, routes_of
from gateway.jobs.settle import add_notice, close_attempt, database_now
from gateway.usage.ended import correct_upstream_cost
from gateway.videos.price_book import Cost
from gateway.videos.routing import Route
from providers.contract import Adapter, Completed, ErrorKind, Failed, ProviderError, Running, Status

log = structlog.get_logger(__name__)

LONGEST_MS = 24 * 3_600_000


async def watch(ctx: JobContext, job: Job) -> None:
    """watching: poll until the upstream is done. The output is discarded, the video is never touched."""
    video, attempt = job.rows.video, job.attempt
    route = route_of_attempt(routes_of(ctx, video), attempt)
    age_ms = ctx.clock.now_ms() - attempt.created_at
    if age_ms > LONGEST_MS or route is None:
        await _finish(ctx, job, "abandoned", None, notice="an abandoned upstream job was given up unresolved")
        return
    if wait := ctx.paces.poll(route.upstream, job.lease.job_id):
        await try_later(ctx, job, wait, counted=False)
        return
    await _ask(ctx, job, route, ctx.adapter_of(route, attempt), age_ms / 1000)


async def _ask(ctx: JobContext, job: Job, route: Route, adapter: Adapter, age: float) -> None:
    job.lease.check()
    try:
        with called(ctx, route.upstream, "watch"):
            status: Status = await adapter.poll(job.attempt.handle)
    except ProviderError as error:
        unavailable = error.kind == ErrorKind.PROVIDER_UNAVAILABLE
        if error.kind == ErrorKind.JOB_LOST or (unavailable and ctx.workers.is_gone(route.upstream)):
            await _finish(ctx, job, "failed", None)
            return
        delay = max(adapter.poll_interval, backoff(job.lease.tries + 1), error.retry_after or 0)
        await try_later(ctx, job, ctx.paces.next_poll(route.upstream, job.lease.job_id, delay))
        return
    if isinstance(status, Running):
        delay = poll_delay(status.poll_after, adapter.poll_interval, age)
        delay = ctx.paces.next_poll(route.upstream, job.lease.job_id, delay)
        await try_later(ctx, job, delay, counted=False)
    elif isinstance(status, Failed):
        await _finish(ctx, job, "failed", None)
    elif isinstance(status, Completed):
        cost = costs.cost_of(route, job.rows.video, status)
        await _finish(ctx, job, "abandoned", cost, notice="the upstream finished a video nobody gets")


async def _finish(
    ctx: JobContext, job: Job, state: str, cost: Cost | None, *, notice: str | None = None
) -> None:
    attempt, video = job.attempt, job.rows.video

    def commit(conn: Connection) -> None:
        end(conn, job.lease)
        now = database_now(conn)
        columns = costs.columns_of(attempt, cost)
        more = (columns["cost_micros"] or 0) - (attempt.cost_micros or 0)
        correct_upstream_cost(conn, job.video_id, more, now)  # balances are locked before slots, as in settle
        close_attempt(conn, attempt, video, state, now, **columns)
        if notice:
            add_notice(conn, "orphaned_attempt", notice, now, video_id=job.video_id, attempt_id=attempt.id)

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "ended"
    ctx.hints.jobs.set()  # the freed slot may have woken one
