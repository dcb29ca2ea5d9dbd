"""Ask the upstream how a job is doing, and act on the answer."""

import asyncio
from math import ceil

import structlog
from sqlalchemy import Connection, update

from gateway.jobs import costs, moves
from gateway.jobs.calls import called
from gateway.jobs.choice import others_left
from gateway.jobs.claims import Loaded, hand_on
from gateway.jobs.context import Job, JobContext, backoff, poll_delay
from gateway.jobs.lost import LOST_AFTER, is_lost, resubmit
from gateway.jobs.outcome import LOCKED_OUT, error_columns, fail_video, failure_of, locked_out, try_later
from gateway.jobs.poll_log import Polled, log_polls
from gateway.jobs.routes import route_of_attempt, routes_of
from gateway.jobs.settle import Failure, close_attempt, database_now
from gateway.videos.routing import Route
from gateway.videos.states import State
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from providers.contract import Adapter, Cancels, Completed, ErrorKind, ProviderError, Running

log = structlog.get_logger(__name__)

MOMENT = 0.25
LONGEST_RETRY_AFTER = 300.0
_NEXT_ROUTE = frozenset({ErrorKind.PROVIDER_ERROR, ErrorKind.PROVIDER_UNAVAILABLE})
"""Verdicts after which another route may make the video. A lost job is none: it may have been made, and billed."""


async def poll(ctx: JobContext, job: Job) -> Job | None:
    """running: one status request, unless the client or the deadline says stop. Answers the job once its bytes are next."""
    video = job.rows.video
    route = route_of_attempt(routes_of(ctx, video), job.attempt)
    if video.overdue:
        message = "The video was not finished before its deadline."
        await fail_video(ctx, job, Failure("expired", message, watch=route is not None))
        return None
    if route is None:
        await try_later(ctx, job)  # the upstream was taken out of the configuration; it may come back
        return None
    adapter = ctx.adapter_of(route, job.attempt)
    if video.cancel_requested:
        await _cancel(ctx, job, route, adapter)
        return None
    wait = ctx.paces.poll(route.upstream, job.lease.job_id)
    while 0.0 < wait <= MOMENT:  # too short for a way through the database
        await asyncio.sleep(wait)
        wait = ctx.paces.poll(route.upstream, job.lease.job_id)
    if wait:
        await ctx.db.write_batch(moves.waiting, moves.Waiting(job.lease, ceil(wait * 1000)), background=True)
        job.lease.outcome = "later"
        return None
    return await _ask(ctx, job, route, adapter)


async def _ask(ctx: JobContext, job: Job, route: Route, adapter: Adapter) -> Job | None:
    job.lease.check()
    try:
        with called(ctx, route.upstream, "poll"):
            status = await adapter.poll(job.attempt.handle)
    except ProviderError as error:
        await _unanswered(ctx, job, route, adapter, error)
        return None
    if isinstance(status, Completed):
        return await _done(ctx, job, route, status)
    if isinstance(status, Running):
        await _still_running(ctx, job, route, adapter, status)
    else:
        await _verdict(ctx, job, route, status.error)
    return None


async def _still_running(ctx: JobContext, job: Job, route: Route, adapter: Adapter, status: Running) -> None:
    video, attempt = job.rows.video, job.attempt
    elapsed = (ctx.clock.now_ms() - (attempt.submitted_at or attempt.created_at)) / 1000
    if route.upstream.polls_per_second is not None:
        elapsed = 0.0  # the budget says how often, so there is no need to ask old jobs less
    delay = poll_delay(status.poll_after, adapter.poll_interval, elapsed)
    delay_ms = ceil(ctx.paces.next_poll(route.upstream, job.lease.job_id, delay) * 1000)
    progress = min(99, max(video.progress, status.progress or 0))

    moved = progress if progress != video.progress else None
    polled = Polled(attempt.id, "running", status.progress)
    await ctx.db.write_batch(
        moves.waiting, moves.Waiting(job.lease, delay_ms, moved, polled), background=True
    )
    job.lease.outcome = "running"
    if progress != video.progress:
        ctx.hints.video_changed([video.id])


async def _done(ctx: JobContext, job: Job, route: Route, status: Completed) -> Job:
    attempt = job.attempt
    cost = costs.columns_of(attempt, costs.cost_of(route, job.rows.video, status))
    move = moves.Done(job.lease, attempt.id, status.outputs, cost, costs.gpu_ms(status.gpu_seconds))
    updated = await ctx.db.write_batch(moves.done, move, background=True)
    await ctx.health.succeeded(route.upstream.name, "job")
    job.lease.state, job.lease.outcome = State.STORING, "done"
    if attempt.submitted_at is not None and attempt.outputs is None:
        seconds = (ctx.clock.now_ms() - attempt.submitted_at) / 1000
        ctx.metrics.video_rendered(job.rows.video.model, seconds)
    if job.attempt.outputs is None:  # the tries of polling are over; those of an expired address go on
        job.lease.tries = 0
    return Job(job.lease, Loaded(job.rows.video, updated))


async def _unanswered(
    ctx: JobContext, job: Job, route: Route, adapter: Adapter, error: ProviderError
) -> None:
    """No status this time. Only the upstream's own word ends a job; silence never does before the deadline."""
    if error.kind == ErrorKind.UNKNOWN_STATE:
        ctx.metrics.unknown_upstream_state(route.upstream.name)
        log.error(
            "unknown_upstream_state",
            video_id=job.video_id,
            upstream=route.upstream.name,
            message=error.message,
        )
    if is_lost(ctx, job, route, error):
        await resubmit(ctx, job, route, error)
        return
    gone = error.kind == ErrorKind.JOB_LOST and job.lease.tries + 1 >= LOST_AFTER
    if gone or error.kind == ErrorKind.MODERATION_BLOCKED:
        await _verdict(ctx, job, route, error)
        return
    delay = error.retry_after
    if delay is None:
        delay = max(adapter.poll_interval, backoff(job.lease.tries + 1))
    pace = ctx.paces.next_poll(route.upstream, job.lease.job_id, min(delay, LONGEST_RETRY_AFTER))
    await try_later(ctx, job, pace, polled=_polled(job, error))
    if error.kind in LOCKED_OUT:
        await locked_out(ctx, job, route.upstream.name, error)


async def _verdict(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> None:
    """The upstream says there will be no video: another route may make it, or the video fails."""
    video = job.rows.video
    request = StoredRequest.model_validate(video.request)
    more = job.attempt.n < ctx.settings.jobs.max_attempts and others_left(ctx, job, request)
    if not (more and error.kind in _NEXT_ROUTE):
        failure = failure_of(error, costs.of_rejection(route, video, error))
        await fail_video(ctx, job, failure, polled=_polled(job, error))
        await _tell(ctx, route, error)
        return
    ctx.metrics.failover(route.upstream.name, error.kind)

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=State.QUEUED, delay_ms=0)
        kept = error_columns(error)
        close_attempt(conn, job.attempt, video, "failed", database_now(conn), error=kept)
        log_polls(conn, [_polled(job, error)])
        conn.execute(
            update(videos)
            .where(videos.c.id == video.id)
            .values(state=State.QUEUED, version=videos.c.version + 1)
        )

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "next_route"
    ctx.hints.jobs.set()
    await _tell(ctx, route, error)


def _polled(job: Job, error: ProviderError) -> Polled:
    return Polled(job.attempt.id, error.kind, http_status=error.http_status)


async def _tell(ctx: JobContext, route: Route, error: ProviderError) -> None:
    """What a job without a video says of its upstream."""
    if error.kind in _NEXT_ROUTE or error.kind == ErrorKind.JOB_LOST:
        await ctx.health.failed(route.upstream.name, "job")


async def _cancel(ctx: JobContext, job: Job, route: Route, adapter: Adapter) -> None:
    """Stop it upstream where that is possible; where not, the customer is free and the attempt is watched."""
    failure = Failure("cancelled", "The video was cancelled.", attempt_state="cancelled")
    if isinstance(adapter, Cancels):
        job.lease.check()
        try:
            with called(ctx, route.upstream, "cancel"):
                await adapter.cancel(job.attempt.handle)
        except ProviderError as error:
            log.warning("cancel_failed", video_id=job.video_id, kind=error.kind)
        else:
            await fail_video(ctx, job, failure)
            return
    await fail_video(ctx, job, Failure(failure.code, failure.message, watch=True))
