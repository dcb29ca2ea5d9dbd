"""Copy the finished video to our storage, look at it, mark and sign it where that is asked for, and settle."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from sqlalchemy import Connection, update

from gateway import tracing
from gateway.jobs.calls import called
from gateway.jobs.charges import charge_of
from gateway.jobs.claims import hand_on
from gateway.jobs.completion import CancelledMeanwhile, Completion, complete
from gateway.jobs.context import Job, JobContext, backoff
from gateway.jobs.lost import LOST_AFTER
from gateway.jobs.outcome import LOCKED_OUT, fail_video, failure_of, try_later, video_ended
from gateway.jobs.provenance import (
    Finish,
    Finished,
    NotMarked,
    NotSigned,
    finish_file,
    finish_of,
    sign_later,
)
from gateway.jobs.routes import route_of_attempt, routes_of
from gateway.jobs.settle import Failure, StoredContent
from gateway.media import MediaError, MediaFacts, SigningError
from gateway.storage import StorageError
from gateway.videos.routing import Route
from gateway.videos.states import State
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from providers.contract import RETRYABLE, ErrorKind, ProviderError

log = structlog.get_logger(__name__)

DAY_MS = 86_400_000
BROKEN_AFTER = 3
_TURN_SECONDS = (1.0, 3.0)  # until a video asks again for a place among those being marked
_GONE = frozenset({ErrorKind.CONTENT_EXPIRED, ErrorKind.JOB_LOST})
"""Its address has expired, or a worker was restarted before it was fetched: the next poll tells which."""
_NOT_MARKED = "The watermark could not be put on the finished video."
_NOT_SIGNED = "The statement of its origin (C2PA) could not be put into the finished video."
_SUFFIXES = {"video/mp4": "mp4", "video/webm": "webm", "video/quicktime": "mov"}


CANCELLED = Failure("cancelled", "The video was cancelled.", attempt_state="completed")
"""The upstream has delivered, the client does not want it any more."""


async def store(ctx: JobContext, job: Job) -> None:
    """storing: download, probe, mark, sign, put, and settle in one transaction. Every part may be done again."""
    video, attempt = job.rows.video, job.rows.attempt
    request = StoredRequest.model_validate(video.request)
    route = attempt and route_of_attempt(routes_of(ctx, video), attempt)
    if attempt is None or route is None:
        await try_later(ctx, job)
    elif video.cancel_requested:
        await fail_video(ctx, job, CANCELLED)
    elif video.overdue:
        await fail_video(ctx, job, Failure("expired", "The finished video could not be stored in time."))
    else:
        finish = finish_of(ctx.settings.provenance, ctx.settings.media.watermark_text, route, request)
        await _store_in_turn(ctx, job, route, request, finish)


async def _store_in_turn(
    ctx: JobContext, job: Job, route: Route, request: StoredRequest, finish: Finish
) -> None:
    if not finish.marks:
        await _store(ctx, job, route, request, finish)
        return
    with ctx.media.mark_turn() as granted:
        if granted:
            await _store(ctx, job, route, request, finish)
        else:  # it waits as a row: marks must not take the places of jobs that need none
            await try_later(ctx, job, random.uniform(*_TURN_SECONDS), counted=False)  # nosec B311 # noqa: S311  (spread)


async def _store(ctx: JobContext, job: Job, route: Route, request: StoredRequest, finish: Finish) -> None:
    path = ctx.work_dir / f"{job.video_id}-{job.lease.fence}.part"
    try:
        await ctx.milestone("store.begin", job.video_id)
        await _fetch(ctx, job, route, path)
        facts = await _probe(ctx, path)
        content = await _put(ctx, job, await finish_file(ctx, job, route, Finished(path, facts), finish))
    except ProviderError as error:
        await _not_fetched(ctx, job, route, error)
    except NotMarked as error:
        await _broken(ctx, job, Failure("watermark_failed", _NOT_MARKED, notice=str(error)))
    except NotSigned as error:
        await _broken(ctx, job, Failure("provenance_failed", _NOT_SIGNED, notice=str(error)))
    except SigningError as error:
        await sign_later(ctx, job, error)
    except MediaError as error:
        wrong = ProviderError(ErrorKind.PROVIDER_ERROR, f"its result is not a video: {error}")
        await _broken(ctx, job, failure_of(wrong))
    except (StorageError, OSError) as error:
        # ours to solve: the video waits for our disk, it does not fail for it
        log.warning("storage_failed", video_id=job.video_id, error=str(error))
        await try_later(ctx, job)
    else:
        await _settle(ctx, job, content, request.retention_days)
    finally:
        await asyncio.to_thread(_remove, path)


async def _fetch(ctx: JobContext, job: Job, route: Route, path: Path) -> None:
    attempt = job.rows.attempt
    if attempt is None:
        raise AssertionError("checked by the caller")
    job.lease.check()
    with called(ctx, route.upstream, "content"):
        content = await ctx.adapter_of(route, attempt).open_content(attempt.handle, attempt.outputs or {})
        await _download(content.chunks, path)


async def _probe(ctx: JobContext, path: Path) -> MediaFacts:
    facts = await ctx.media.probe(path, verify=False)
    if facts.kind != "video":
        raise MediaError(f"it is {facts.media_type}")
    return facts


async def _put(ctx: JobContext, job: Job, made: Finished) -> StoredContent:
    job.lease.check()
    facts = made.facts
    # a key per fence: a stale worker can never overwrite what its successor settled
    suffix = _SUFFIXES.get(facts.media_type, "mp4")
    key = f"videos/{job.video_id}/content-{job.lease.fence}.{suffix}"
    stored = await ctx.storage.put_file(key, made.path, content_type=facts.media_type)
    await ctx.milestone("store.put", job.video_id)
    return StoredContent(
        key,
        facts.media_type,
        stored.bytes,
        stored.sha256,
        facts.width,
        facts.height,
        facts.duration_ms,
        made.provenance,
    )


def _remove(path: Path) -> None:
    for each in (path, path.with_suffix(".marked"), path.with_suffix(".signed")):
        each.unlink(missing_ok=True)


async def _download(chunks: AsyncIterator[bytes], path: Path) -> None:
    """Stream to `path`. Blocking writes go to a thread in large pieces."""
    with path.open("wb") as file:
        pending: list[bytes] = []
        held = 0
        async for chunk in chunks:
            pending.append(chunk)
            held += len(chunk)
            if held >= 1 << 20:
                await asyncio.to_thread(file.writelines, pending)
                pending, held = [], 0
        await asyncio.to_thread(file.writelines, pending)
        if not file.tell():
            raise ProviderError(ErrorKind.PROVIDER_ERROR, "the upstream's video is empty")


async def _settle(ctx: JobContext, job: Job, content: StoredContent, plan_days: float | None) -> None:
    """Completed. The plan's retention, where it names one, holds in both directions."""
    days = ctx.settings.retention.content_days if plan_days is None else plan_days
    retention_ms = int(days * DAY_MS)
    await ctx.milestone("settle.begin", job.video_id)
    settled = Completion(job.lease, job.rows, content, retention_ms)
    try:
        with tracing.span("settle", video_id=job.video_id):
            await ctx.db.write_batch(complete, settled, background=True)
    except CancelledMeanwhile:
        await fail_video(ctx, job, CANCELLED)
        await _discard(ctx, job, content.key)
        return
    job.lease.outcome = "completed"
    charge = charge_of(job.rows.video, job.attempt, content.duration_ms, min(content.width, content.height))
    video_ended(ctx, job, "completed", charge.micros)
    ctx.hints.video_changed([job.video_id])
    ctx.hints.outbox.set()
    ctx.hints.jobs.set()  # the freed slot may have woken one
    await ctx.milestone("settle.done", job.video_id)


async def _discard(ctx: JobContext, job: Job, key: str) -> None:
    """The video has ended: what cannot be removed now is left to the sweep."""
    try:
        await ctx.storage.delete(key)
    except StorageError as error:
        log.warning("content_not_removed", video_id=job.video_id, error=str(error))


async def _not_fetched(ctx: JobContext, job: Job, route: Route, error: ProviderError) -> None:
    """A file that is gone is looked for by polling again, and so is one of a worker of ours that stays silent; other
    silence and locked doors are retried; a verdict ends it."""
    tries = job.lease.tries + 1
    gone = error.kind in _GONE and tries <= BROKEN_AFTER
    silent = route.local and error.kind is ErrorKind.PROVIDER_UNAVAILABLE and tries >= LOST_AFTER
    if gone or silent:
        delay_ms = int(backoff(tries) * 1000) if silent else 0

        def commit(conn: Connection) -> None:
            hand_on(conn, job.lease, state=State.RUNNING, delay_ms=delay_ms, tries=tries)
            conn.execute(update(videos).where(videos.c.id == job.video_id).values(state=State.RUNNING))

        await ctx.db.write(commit, background=True)
        job.lease.outcome = "poll_again"
        ctx.hints.jobs.set()
    elif error.kind in RETRYABLE | LOCKED_OUT:
        delay = error.retry_after if error.retry_after is not None else backoff(job.lease.tries + 1)
        await try_later(ctx, job, min(delay, 60.0))
    else:
        await _broken(ctx, job, failure_of(error))


async def _broken(ctx: JobContext, job: Job, failure: Failure) -> None:
    """Completed upstream without a video that can be delivered: try a few times, then say so."""
    if job.lease.tries + 1 < BROKEN_AFTER:
        await try_later(ctx, job)
    else:
        await fail_video(ctx, job, failure)
