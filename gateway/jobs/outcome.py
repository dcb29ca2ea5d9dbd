"""The ways a step ends, each one committed transaction."""

from typing import Any

from sqlalchemy import Connection

from gateway import tracing
from gateway.jobs.claims import hand_on
from gateway.jobs.context import Job, JobContext, backoff
from gateway.jobs.poll_log import Polled, log_polls
from gateway.jobs.settle import PUBLIC_CODES, Failure, fail
from gateway.videos.price_book import Cost
from providers.contract import ErrorKind, ProviderError


async def fail_video(ctx: JobContext, job: Job, failure: Failure, *, polled: Polled | None = None) -> None:
    """End the video without a file. `polled`: the poll that said so."""

    def commit(conn: Connection) -> int:
        fee = fail(conn, job.lease, job.rows, failure)
        log_polls(conn, [polled] if polled else [])
        return fee

    await ctx.milestone("settle.begin", job.video_id)
    with tracing.span("settle", video_id=job.video_id, error_code=failure.code):
        fee = await ctx.db.write(commit, background=True)
    job.lease.outcome = "failed"
    video_ended(ctx, job, failure.code, fee)
    ctx.hints.video_changed([job.video_id])
    ctx.hints.outbox.set()
    ctx.hints.jobs.set()  # the freed slot may have woken one
    await ctx.milestone("settle.done", job.video_id)


def video_ended(ctx: JobContext, job: Job, outcome: str, captured: int) -> None:
    """Count the end of a video: "completed" or its error code, and what was taken for it."""
    video = job.rows.video
    seconds = (ctx.clock.now_ms() - video.created_at) / 1000
    ctx.metrics.video_ended(video.model, outcome, seconds, captured=captured, held=video.hold_micros)


async def try_later(
    ctx: JobContext,
    job: Job,
    delay: float | None = None,
    *,
    counted: bool = True,
    polled: Polled | None = None,
) -> None:
    """Same state again after `delay` seconds, or after a growing pause."""
    tries = job.lease.tries + (1 if counted else 0)
    seconds = backoff(tries) if delay is None else delay

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=job.lease.state, delay_ms=int(seconds * 1000), tries=tries)
        log_polls(conn, [polled] if polled else [])

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "again" if counted else "later"


LOCKED_OUT = frozenset({ErrorKind.PROVIDER_AUTH, ErrorKind.PROVIDER_FUNDS})
"""The operator's trouble with the upstream: no client is told of it."""


async def locked_out(ctx: JobContext, job: Job, upstream: str, error: ProviderError) -> None:
    """Pause the upstream, unless it refused a credential that has been replaced since."""
    attempt, present = job.rows.attempt, ctx.catalogue.upstream(upstream)
    if attempt is None or present is None or attempt.credential_version != present.credential_version:
        return
    await ctx.health.locked_out(
        upstream, present.credential, error, video_id=job.video_id, attempt_id=attempt.id
    )


def failure_of(error: ProviderError, cost: Cost | None = None) -> Failure:
    """What the client is told of an upstream's verdict; never its 401 or 402. `cost`: what it takes all the same."""
    code, kept = PUBLIC_CODES.get(error.kind, "provider_error"), error_columns(error)
    if error.kind in LOCKED_OUT:
        message = "The provider is not available to this gateway; its operator was told."
        return Failure(code, message, error=kept)
    if code == "provider_error":
        message = f"The provider could not make this video: {error.message}"[:500]
        return Failure(code, message, notice=error.message, error=kept)
    return Failure(code, error.message[:500], kind=error.kind, cost=cost, error=kept)


def error_columns(error: ProviderError) -> dict[str, Any]:
    """What an attempt keeps of its error: `attempts.error`."""
    return {"kind": error.kind, "message": error.message, "http_status": error.http_status}
