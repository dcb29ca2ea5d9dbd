"""Copy a video's input URLs into our storage before anything is sent upstream."""

import asyncio

import structlog
from sqlalchemy import Connection, update

from gateway.jobs.claims import hand_on
from gateway.jobs.context import Job, JobContext
from gateway.jobs.outcome import fail_video, try_later
from gateway.jobs.settle import Failure
from gateway.media import MediaError
from gateway.media.fetch import FetchError
from gateway.storage import StorageError
from gateway.videos.states import State
from gateway.videos.stored import StoredMedia, StoredRequest
from gateway.videos.tables import videos

log = structlog.get_logger(__name__)

FETCH_TRIES = 3


async def copy_inputs(ctx: JobContext, job: Job) -> None:
    """preparing: fetch, probe and store every input that is still a URL. A bad one fails the video."""
    request = StoredRequest.model_validate(job.rows.video.request)
    try:
        for n, item in enumerate(request.media):
            if item.storage_key is None:
                request.media[n] = await _copy(ctx, job, item, n)
    except StorageError:
        await try_later(ctx, job)
        return
    except FetchError as error:
        if error.temporary and job.lease.tries + 1 < FETCH_TRIES:
            await try_later(ctx, job)
        else:
            await fail_video(ctx, job, Failure("input_media", f"An input URL could not be used: {error}"))
        return
    except MediaError as error:
        await fail_video(ctx, job, Failure("input_media", f"An input URL could not be used: {error}"))
        return

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=State.QUEUED, delay_ms=0)
        conn.execute(
            update(videos)
            .where(videos.c.id == job.video_id)
            .values(state=State.QUEUED, request=request.model_dump(mode="json"), version=videos.c.version + 1)
        )

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "prepared"
    ctx.hints.jobs.set()


async def _copy(ctx: JobContext, job: Job, item: StoredMedia, n: int) -> StoredMedia:
    path = ctx.work_dir / f"{job.video_id}-input-{n}-{job.lease.fence}"
    job.lease.check()
    try:
        size = await ctx.fetcher.fetch(item.url or "", path, max_bytes=ctx.settings.limits.image_bytes)
        facts = await ctx.media.probe(path, verify=True)
        if facts.kind != "image":
            raise MediaError(f"it is {facts.media_type}, expected an image (jpeg, png or webp)")
        key = f"inputs/{job.video_id}/{n}"
        await ctx.storage.put_file(key, path, content_type=facts.media_type)
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return item.model_copy(update={"storage_key": key, "media_type": facts.media_type, "size": size})
