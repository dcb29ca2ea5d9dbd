"""A worker of ours that has lost a video with its process, or is lost itself: the same video is made again.

The seed is told with every submit, so any worker makes it the same. A provider is never left like this: it may have
made, and billed, the video.
"""

import structlog
from sqlalchemy import Connection, update

from gateway.jobs.choice import others_left
from gateway.jobs.claims import LOST, hand_on
from gateway.jobs.context import Job, JobContext, backoff
from gateway.jobs.outcome import error_columns
from gateway.jobs.poll_log import Polled, log_polls
from gateway.jobs.settle import close_attempt, database_now
from gateway.videos.routing import Route
from gateway.videos.states import State
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from providers.contract import ErrorKind, ProviderError

log = structlog.get_logger(__name__)

LOST_AFTER = 3


def is_lost(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> bool:
    """Whether a worker of ours came back without the video, or does not answer and shall not be waited for: its address is
    gone, or another worker can do it."""
    if not route.local or error.kind is not ErrorKind.PROVIDER_UNAVAILABLE:
        return route.local and error.kind is ErrorKind.JOB_LOST
    return ctx.workers.is_gone(route.upstream) or (job.lease.tries + 1 >= LOST_AFTER and _elsewhere(ctx, job))


async def resubmit(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> None:
    """To another worker where one is left, else to the same one once it is back; so often that a video which kills its
    workers stays with one of them."""
    attempt, elsewhere = job.attempt, _elsewhere(ctx, job)
    delay_ms = 0 if elsewhere else int(backoff(job.lease.tries) * 1000)
    if error.kind is ErrorKind.PROVIDER_UNAVAILABLE:
        ctx.workers.lost(route.upstream)

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=State.QUEUED, delay_ms=delay_ms, tries=job.lease.tries + 1)
        kept, state = error_columns(error), LOST if elsewhere else "refused"
        close_attempt(conn, attempt, job.rows.video, state, database_now(conn), error=kept)
        log_polls(conn, [Polled(attempt.id, error.kind, http_status=error.http_status)])
        conn.execute(
            update(videos)
            .where(videos.c.id == job.video_id)
            .values(state=State.QUEUED, version=videos.c.version + 1)
        )

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "resubmitted"
    ctx.hints.video_changed([job.video_id])
    ctx.hints.jobs.set()
    log.info("resubmit", video_id=job.video_id, upstream=attempt.upstream, elsewhere=elsewhere)
    if elsewhere:
        ctx.metrics.failover(attempt.upstream, error.kind)
        await ctx.health.failed(attempt.upstream, "job")


def _elsewhere(ctx: JobContext, job: Job) -> bool:
    request = StoredRequest.model_validate(job.rows.video.request)
    return job.attempt.n < ctx.settings.jobs.max_attempts and others_left(ctx, job, request, ours=True)
