"""Send a video to an upstream once: the intent is committed before the request leaves."""

import asyncio
from dataclasses import replace
from itertools import count
from math import ceil
from typing import Any

import structlog
from sqlalchemy import Connection, update

from gateway import tracing
from gateway.db_group import DatabaseAway
from gateway.jobs import costs, intents, moves, slots
from gateway.jobs.attempts import read_attempt
from gateway.jobs.calls import called
from gateway.jobs.choice import choose, is_loaded, others_left
from gateway.jobs.claims import LOST, Loaded, hand_on
from gateway.jobs.context import Job, JobContext, backoff, poll_delay
from gateway.jobs.outcome import LOCKED_OUT, error_columns, fail_video, failure_of, locked_out, try_later
from gateway.jobs.routes import is_route_of, video_request
from gateway.jobs.settle import Failure, close_attempt, database_now
from gateway.jobs.tables import attempts
from gateway.videos.routing import Route
from gateway.videos.states import State
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from providers.contract import (
    RETRYABLE,
    Adapter,
    ErrorKind,
    ProviderError,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.sockets import checked_last

log = structlog.get_logger(__name__)

_NOT_THIS_ROUTE = frozenset(
    {
        ErrorKind.PROVIDER_AUTH,
        ErrorKind.PROVIDER_FUNDS,
        ErrorKind.MODEL_RETIRED,
        ErrorKind.JOB_LOST,
        ErrorKind.PROVIDER_ERROR,
    }
)
"""Clean refusals that say nothing against the request: another route may take it."""
_ABOUT_THE_REQUEST = frozenset(
    {ErrorKind.INVALID_REQUEST, ErrorKind.INPUT_MEDIA, ErrorKind.MODERATION_BLOCKED}
)
"""An upstream that works has looked at it and does not want it: it has not taken it earlier either.

Not so of MODEL_RETIRED, which any 404 may be: one that comes from a proxy must not let another upstream make it twice.
"""
_BROKEN = frozenset({ErrorKind.PROVIDER_UNAVAILABLE, ErrorKind.PROVIDER_ERROR})
_AWAY_SECONDS = 0.3
"""Sooner than any other process looks for a job whose lease has run out."""
_UNREACHABLE = Failure("provider_unavailable", "No provider of this model can be reached at the moment.")


async def begin_attempt(ctx: JobContext, job: Job) -> None:
    """queued: choose the route, take the slots and commit the attempt; then send."""
    video = job.rows.video
    request = StoredRequest.model_validate(video.request)
    pinned = await read_attempt(ctx.db, request.pinned_attempt_id)
    choice = choose(ctx, job, request, pinned)
    if choice.wait is not None:
        await try_later(ctx, job, choice.wait, counted=False)
        return
    if not choice.routes or _gave_up(ctx, job, choice.routes[0]):
        await fail_video(ctx, job, _UNREACHABLE if choice.away else _no_route(job))
        return
    routes = [_pinned_to(ctx, route, pinned) for route in choice.routes]
    last = job.rows.attempt
    if wait := ctx.paces.submit(routes[0].upstream, job.lease.job_id):
        await try_later(ctx, job, wait, counted=False)
        return
    intent = _intent_of(ctx, job, routes, request, choice.hold_ms)
    attempt = await ctx.db.write_batch(intents.begin, intent, background=True)
    if attempt is None:
        job.lease.outcome = "parked"
        ctx.hints.jobs.set()  # another may have been woken in its stead
        return
    tracing.annotate(upstream=attempt.upstream, attempt=attempt.n)
    route = next(each for each in routes if is_route_of(each, attempt))
    if last is not None and last.state == "refused" and not is_route_of(route, last):
        ctx.metrics.failover(last.upstream, "away")
    job.lease.state = State.SUBMITTING
    ctx.hints.video_changed([video.id])
    job = Job(job.lease, Loaded(video, attempt, job.rows.tried))
    await ctx.milestone("attempt.committed", video.id)
    await send(ctx, job, route, request)


def _pinned_to(ctx: JobContext, route: Route, pinned: Any | None) -> Route:
    """An upstream's own earlier result is used under the credential that made it, while that is kept."""
    if pinned is None or pinned.upstream != route.upstream.name:
        return route
    return replace(route, upstream=ctx.catalogue.with_version(route.upstream, pinned.credential_version))


def _intent_of(
    ctx: JobContext, job: Job, routes: list[Route], request: StoredRequest, hold_ms: int | None
) -> intents.Intent:
    video = job.rows.video
    wants = (
        slots.Want(slots.organization_slot(video.organization_id), request.organization_videos),
        slots.Want(slots.key_slot(video.key_id), request.concurrent_videos),
    )
    ways = tuple(
        intents.Way(
            upstream=route.upstream.name,
            upstream_model=route.spec.upstream_id,
            max_concurrent=route.upstream.max_concurrent,
            credential_version=route.upstream.credential_version,
            estimate_micros=costs.expected_micros(route, request, video.operation),
            preferred=is_loaded(ctx, route),
        )
        for route in routes
    )
    return intents.Intent(job.lease, video.id, ways, wants, job.rows.attempt, hold_ms)


def _gave_up(ctx: JobContext, job: Job, route: Route) -> bool:
    """Refused again and again for longer than the model may take to make a video."""
    last = job.rows.attempt
    if last is None or last.state != "refused":
        return False
    return bool(ctx.clock.now_ms() - last.created_at > route.spec.deadline_seconds * 1000)


def _no_route(job: Job) -> Failure:
    last = (job.rows.attempt.error or {}) if job.rows.attempt is not None else {}
    if not last:
        return Failure("provider_error", "No upstream serves this model any more.", notice="no route left")
    return failure_of(ProviderError(ErrorKind(last["kind"]), str(last["message"])))


def _move_video(conn: Connection, video_id: str, state: State) -> None:
    conn.execute(
        update(videos).where(videos.c.id == video_id).values(state=state, version=videos.c.version + 1)
    )


async def send(
    ctx: JobContext, job: Job, route: Route, request: StoredRequest, *, may_exist: bool = False
) -> None:
    """The one create request of this attempt, and what its answer means.

    `may_exist`: an earlier request of the same attempt may have been taken, so a refusal now proves nothing.
    """
    adapter = ctx.adapter_of(route, job.attempt)
    asked = await outgoing(ctx, job, request, route)
    job.lease.check()
    try:
        with called(ctx, route.upstream, "submit"), checked_last(job.lease.check):
            submitted = await adapter.submit(asked)
    except ProviderError as error:
        await ctx.milestone("submit.answered", job.video_id)
        _log_refusal(job, route, error)
        await _tell(ctx, job, route, error)
        if error.ambiguous or (may_exist and not _proves(route, error)):
            await _ambiguous(ctx, job, safety_of(route, adapter))
        else:
            await _refused(ctx, job, route, error)
        return
    await ctx.milestone("submit.answered", job.video_id)
    await accepted(ctx, job, route, submitted)
    await ctx.health.succeeded(route.upstream.name, "submit")


def _proves(route: Route, error: ProviderError) -> bool:
    """Whether a refusal after an unanswered create says that the video is not there. A worker of ours knows its own, and
    forgets them with its process."""
    return route.local or error.kind in _ABOUT_THE_REQUEST


async def _tell(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> None:
    """What a refused create says of its upstream; that it refuses the request itself proves that it works."""
    name = route.upstream.name
    if error.kind in LOCKED_OUT:
        await locked_out(ctx, job, name, error)
    elif error.ambiguous or error.kind in _BROKEN:
        await ctx.health.failed(name, "submit")
    elif error.kind in _ABOUT_THE_REQUEST or error.kind is ErrorKind.MODEL_RETIRED:
        await ctx.health.succeeded(name, "submit")


async def outgoing(ctx: JobContext, job: Job, request: StoredRequest, route: Route) -> VideoRequest:
    """What the upstream is asked, with the handle of the source where there is one."""
    pinned = await read_attempt(ctx.db, request.pinned_attempt_id)
    source = pinned.handle if pinned is not None else None
    return video_request(
        ctx,
        job.rows.video,
        job.rows.attempt,
        request,
        source=source,
        route=route,
    )


def safety_of(route: Route, adapter: Adapter) -> SubmitSafety:
    """What an ambiguous create allows: as the model says, else as its adapter does."""
    return route.spec.submit_safety or adapter.submit_safety


async def accepted(ctx: JobContext, job: Job, route: Route, submitted: Submitted) -> None:
    """running from now on: the upstream has it."""
    attempt = job.attempt
    interval = ctx.adapter_of(route, attempt).poll_interval
    delay = poll_delay(submitted.poll_after, interval, 0)
    delay_ms = ceil(ctx.paces.next_poll(route.upstream, job.lease.job_id, delay) * 1000)
    deadline_ms = int(route.spec.deadline_seconds * 1000)
    move = moves.Taken(job.lease, attempt.id, submitted.handle, delay_ms, deadline_ms)
    await _keep_handle(ctx, move)
    job.lease.outcome = "accepted"
    if attempt.n == 1:
        waited = (ctx.clock.now_ms() - job.rows.video.created_at) / 1000
        ctx.metrics.video_taken(job.rows.video.model, waited)
    ctx.hints.video_changed([job.video_id])


async def _keep_handle(ctx: JobContext, move: moves.Taken) -> None:
    """What the upstream answered is nowhere else: a database that is away is asked until it is back.

    Whether the job is still ours then, or an unanswered commit has gone through, is for its fence to say.
    """
    for tries in count():
        try:
            await ctx.db.write_batch(moves.taken, move, background=True)
        except DatabaseAway as error:
            if not tries:
                log.warning("handle_waits", job_id=move.lease.job_id, error=str(error))
            await asyncio.sleep(_AWAY_SECONDS)
        else:
            return


def _log_refusal(job: Job, route: Route, error: ProviderError) -> None:
    log.info(
        "submit_failed",
        video_id=job.video_id,
        upstream=route.upstream.name,
        kind=error.kind,
        ambiguous=error.ambiguous,
    )


async def _refused(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> None:
    """Surely not taken."""
    if error.kind in RETRYABLE:
        await _retry_refused(ctx, job, route, error)
    elif error.kind in _NOT_THIS_ROUTE:
        await _leave_route(ctx, job, route, error)
    else:
        await fail_video(ctx, job, failure_of(error, costs.of_rejection(route, job.rows.video, error)))


async def _ambiguous(ctx: JobContext, job: Job, safety: SubmitSafety) -> None:
    """The upstream may have taken it. With a key or a look-up the same attempt goes on; else wait and see."""
    if safety == "none":
        await to_unknown(ctx, job)
        return
    delay = backoff(job.lease.tries) if safety == "key" else ctx.settings.jobs.lookup_wait_seconds
    await try_later(ctx, job, delay)


async def to_unknown(ctx: JobContext, job: Job) -> None:
    """submission_unknown: nobody can tell whether the upstream has it; never sent again."""
    attempt = job.attempt
    grace_ms = int(ctx.settings.jobs.unknown_grace_seconds * 1000)

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=State.SUBMISSION_UNKNOWN, delay_ms=grace_ms)
        conn.execute(update(attempts).where(attempts.c.id == attempt.id).values(state="unknown"))
        _move_video(conn, job.video_id, State.SUBMISSION_UNKNOWN)

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "unknown"
    ctx.hints.video_changed([job.video_id])
    log.warning("submission_unknown", video_id=job.video_id, upstream=attempt.upstream)


async def _retry_refused(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> None:
    """Surely not taken, and the same request may succeed: give the slots back and wait for the upstream.

    Where another route is left and this one is down (not merely busy), take that one.
    """
    request = StoredRequest.model_validate(job.rows.video.request)
    if error.kind == ErrorKind.PROVIDER_UNAVAILABLE and others_left(ctx, job, request):
        await _leave_route(ctx, job, route, error)
        return
    delay = error.retry_after if error.retry_after is not None else backoff(job.lease.tries + 1)
    delay_ms = int(min(delay, 300) * 1000)
    pause = error.kind == ErrorKind.RATE_LIMITED

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=State.QUEUED, delay_ms=delay_ms, tries=job.lease.tries + 1)
        _close_refused(conn, job, error, "refused")
        if pause:
            slots.pause(conn, slots.upstream_slot(route.upstream.name), delay_ms)

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "refused"
    ctx.hints.video_changed([job.video_id])


async def _leave_route(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> None:
    """Refused for good here: the next step takes the next route, or fails where there is none."""
    if others_left(ctx, job, StoredRequest.model_validate(job.rows.video.request)):
        ctx.metrics.failover(route.upstream.name, error.kind)

    down = route.local and error.kind is ErrorKind.PROVIDER_UNAVAILABLE
    if down:
        ctx.workers.lost(route.upstream)

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=State.QUEUED, delay_ms=0, tries=job.lease.tries + 1)
        _close_refused(conn, job, error, LOST if down else "failed")

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "next_route"
    ctx.hints.jobs.set()


def _close_refused(conn: Connection, job: Job, error: ProviderError, state: str) -> None:
    kept = error_columns(error)
    close_attempt(conn, job.attempt, job.rows.video, state, database_now(conn), error=kept)
    _move_video(conn, job.video_id, State.QUEUED)
