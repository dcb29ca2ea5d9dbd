"""A create whose answer was lost: sent again under its key, looked up, or given up when nobody can tell."""

from sqlalchemy import Connection, update

from gateway.db import now_ms
from gateway.jobs.calls import called
from gateway.jobs.claims import keep
from gateway.jobs.context import Job, JobContext
from gateway.jobs.lost import is_lost, resubmit
from gateway.jobs.outcome import fail_video, try_later
from gateway.jobs.routes import route_of_attempt, routes_of
from gateway.jobs.settle import Failure, database_now
from gateway.jobs.submit import accepted, outgoing, safety_of, send, to_unknown
from gateway.jobs.tables import attempts
from gateway.videos.routing import Route
from gateway.videos.states import State
from gateway.videos.stored import StoredRequest
from providers.contract import ErrorKind, LooksUp, ProviderError


async def resume(ctx: JobContext, job: Job) -> None:
    """submitting, claimed again: a worker died or the answer was ambiguous. The adapter's safety decides."""
    video, attempt = job.rows.video, job.attempt
    request = StoredRequest.model_validate(video.request)
    route = route_of_attempt(routes_of(ctx, video), attempt)
    adapter = None if route is None else ctx.adapter_if_any(route, attempt)
    if route is None or adapter is None:
        await to_unknown(ctx, job)
        return
    silent = ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "the worker does not answer")
    if is_lost(ctx, job, route, silent):
        await resubmit(ctx, job, route, silent)
        return
    safety = safety_of(route, adapter)
    cannot_tell = safety == "none" or (safety == "lookup" and not isinstance(adapter, LooksUp))
    if cannot_tell or video.overdue or job.lease.tries > ctx.settings.jobs.max_tries:
        await to_unknown(ctx, job)
    elif isinstance(adapter, LooksUp) and safety == "lookup":
        await _look_up(ctx, job, route, adapter, request)
    else:
        await _resend(ctx, job, route, request, may_exist=True)


async def _look_up(ctx: JobContext, job: Job, route: Route, adapter: LooksUp, request: StoredRequest) -> None:
    """Ask only once an earlier request can no longer be on its way; adopt what is found, else send again."""
    now = await ctx.db.read(database_now)
    waited = (now - (job.attempt.sent_at or 0)) / 1000
    if waited < ctx.settings.jobs.lookup_wait_seconds:
        await try_later(ctx, job, ctx.settings.jobs.lookup_wait_seconds - waited, counted=False)
        return
    job.lease.check()
    try:
        with called(ctx, route.upstream, "lookup"):
            found = await adapter.lookup(await outgoing(ctx, job, request, route))
    except ProviderError as error:
        await try_later(ctx, job, error.retry_after)
        return
    if found is not None:
        await accepted(ctx, job, route, found)
    else:
        await _resend(ctx, job, route, request, may_exist=False)


async def _resend(
    ctx: JobContext, job: Job, route: Route, request: StoredRequest, *, may_exist: bool
) -> None:
    attempt_id = job.attempt.id

    def commit(conn: Connection) -> None:
        keep(conn, job.lease, state=State.SUBMITTING, tries=job.lease.tries)
        conn.execute(update(attempts).where(attempts.c.id == attempt_id).values(sent_at=now_ms()))

    await ctx.db.write(commit, background=True)
    await ctx.milestone("attempt.committed", job.video_id)
    await send(ctx, job, route, request, may_exist=may_exist)


async def resolve_unknown(ctx: JobContext, job: Job) -> None:
    """submission_unknown at the end of its grace, or given up by an operator: one last look where the upstream can be asked, then the end.

    The customer pays nothing for what nobody confirmed.
    """
    now = await ctx.db.read(database_now)
    waited = (now - (job.attempt.sent_at or 0)) / 1000
    given_up = job.attempt.given_up_at is not None
    if not given_up and waited < ctx.settings.jobs.unknown_grace_seconds:  # woken early, by a cancel say
        await try_later(ctx, job, ctx.settings.jobs.unknown_grace_seconds - waited, counted=False)
        return
    if await _adopt(ctx, job):
        return
    await fail_video(
        ctx,
        job,
        Failure(
            "submission_unknown",
            "The provider did not confirm that it took this video. It was not charged; please send it again.",
            notice="the upstream may have made and billed this video; its answer to the create was lost",
            attempt_state="abandoned",
        ),
    )


async def _adopt(ctx: JobContext, job: Job) -> bool:
    """Go on with the submission if its upstream can be searched and has it."""
    request = StoredRequest.model_validate(job.rows.video.request)
    attempt = job.attempt
    route = route_of_attempt(routes_of(ctx, job.rows.video), attempt)
    adapter = None if route is None else ctx.adapter_if_any(route, attempt)
    if route is None or not isinstance(adapter, LooksUp) or safety_of(route, adapter) != "lookup":
        return False
    job.lease.check()
    try:
        with called(ctx, route.upstream, "lookup"):
            found = await adapter.lookup(await outgoing(ctx, job, request, route))
    except ProviderError:
        return False
    if found is not None:
        await accepted(ctx, job, route, found)
    return found is not None
