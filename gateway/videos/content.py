"""The files of a completed video: the video itself, and previews made when first asked for (ADR 0004)."""

import asyncio
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import ApiError, BadRequest, NotFound
from gateway.media import MediaError
from gateway.media.pool import MediaTools
from gateway.storage import MissingObjectError, Storage
from gateway.videos import archive
from gateway.videos.states import PUBLIC, State
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos


class Variant(StrEnum):
    """What can be downloaded of a video."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SPRITESHEET = "spritesheet"


_PREVIEWS: Final = {
    Variant.THUMBNAIL: ("thumbnail.webp", "image/webp"),
    Variant.SPRITESHEET: ("spritesheet.jpg", "image/jpeg"),
}
_SUFFIXES: Final = {"video/mp4": "mp4", "video/webm": "webm", "video/quicktime": "mov"}
_COLUMNS: Final = tuple(
    videos.c[name]
    for name in (
        *("id", "state", "error_code", "expires_at"),
        *("content_key", "content_type", "content_bytes", "content_sha256"),
    )
)


@dataclass(frozen=True, slots=True)
class ContentFile:
    """One file in storage: key, bytes, a version that changes with the content, media type, name to save as."""

    key: str
    size: int
    version: str
    media_type: str
    filename: str


class VideoContent:
    """Finds the files of videos, and makes a missing preview once however many ask."""

    def __init__(self, db: Database, storage: Storage, media: MediaTools, clock: Clock) -> None:
        self._db = db
        self._storage = storage
        self._media = media
        self._clock = clock
        self._making: dict[str, asyncio.Task[None]] = {}

    async def find(self, project_id: str, video_id: str, variant: Variant) -> ContentFile:
        """Find what to send. NotFound for a foreign or expired video, BadRequest for one without content."""
        row = await self._db.read(lambda conn: _row(conn, project_id, video_id))
        if row is None:
            raise NotFound(
                f"No video with the id '{video_id[:100]}' exists.", param="video_id", code="video_not_found"
            )
        self._check(row)
        if variant != Variant.VIDEO:
            return await self._preview(project_id, row, variant)
        return ContentFile(
            key=row["content_key"],
            size=row["content_bytes"],
            version=row["content_sha256"],
            media_type=row["content_type"],
            filename=f"{video_id}.{_SUFFIXES.get(row['content_type'], 'mp4')}",
        )

    async def input(self, project_id: str, video_id: str, n: int) -> ContentFile:
        """Find the n-th input of a video. NotFound for one that is not there, or is not kept any longer."""
        row = await self._db.read(lambda conn: _row(conn, project_id, video_id))
        asked = None if row is None else await self._db.read(lambda conn: archive.request_of(conn, video_id))
        media = StoredRequest.model_validate(asked).media if asked else []
        if not 0 <= n < len(media) or (key := media[n].storage_key) is None:
            raise NotFound("There is no such input.", code="input_not_found")
        if (found := await self._storage.head(key)) is None:
            raise NotFound("This input is not kept any longer.", code="input_not_found")
        return ContentFile(key, found.size, found.etag, media[n].media_type, f"{video_id}-input-{n}")

    async def credentials(self, project_id: str, video_id: str, roots: str | None) -> dict[str, Any] | None:
        """Read what the file of a video says of its origin, for who trusts `roots` too; None where it has no claim."""
        found = await self.find(project_id, video_id, Variant.VIDEO)
        try:
            async with self._storage.as_file(found.key) as path:
                return await self._media.credentials(path, found.media_type, roots)
        except MissingObjectError as error:
            raise _expired(video_id) from error
        except MediaError as error:
            raise BadRequest(f"The file's origin cannot be read: {error}.", code="unreadable") from error

    def _check(self, row: RowMapping) -> None:
        video_id, state = row["id"], row["state"]
        if state == State.FAILED:
            raise BadRequest(
                f"The video '{video_id}' failed ({row['error_code']}) and has no content.",
                code="video_failed",
            )
        if state != State.COMPLETED:
            raise BadRequest(
                f"The video '{video_id}' is {PUBLIC[state]}. Poll it until its status is completed.",
                code="video_not_ready",
            )
        expires_at = row["expires_at"]
        if row["content_key"] is None or (expires_at is not None and expires_at <= self._clock.now_ms()):
            raise _expired(video_id)

    async def _preview(self, project_id: str, row: RowMapping, variant: Variant) -> ContentFile:
        name, media_type = _PREVIEWS[variant]
        video_id = row["id"]
        key = f"videos/{video_id}/{name}"
        found = await self._storage.head(key)
        if found is None:
            await self._make_once(project_id, row, variant, key)
            found = await self._storage.head(key)
        if found is None:
            raise _expired(video_id)
        version = f"{row['content_sha256'][:32]}-{found.etag}"
        return ContentFile(key, found.size, version, media_type, f"{video_id}-{name}")

    async def _make_once(self, project_id: str, row: RowMapping, variant: Variant, key: str) -> None:
        """Wait for the one task that makes it; it ends its work even if every client hangs up."""
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(project_id, row, variant, key))
            task.add_done_callback(lambda _: self._making.pop(key))
        await asyncio.shield(task)

    async def _make(self, project_id: str, row: RowMapping, variant: Variant, key: str) -> None:
        draw = self._media.thumbnail if variant == Variant.THUMBNAIL else self._media.spritesheet
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="onereel-")
        try:
            out = Path(folder.name) / "preview"
            async with self._storage.as_file(row["content_key"]) as source:
                await draw(source, out)
            await self._storage.put_file(key, out, content_type=_PREVIEWS[variant][1])
        except MissingObjectError as error:
            raise _expired(row["id"]) from error
        except MediaError as error:
            raise NoPreviewError(str(error)) from error
        finally:
            await asyncio.to_thread(folder.cleanup)
        await self._discard_if_gone(project_id, row["id"], key)

    async def _discard_if_gone(self, project_id: str, video_id: str, key: str) -> None:
        """Keep no preview of a video that was deleted or expired meanwhile."""
        row = await self._db.read(lambda conn: _row(conn, project_id, video_id))
        if row is None or row["content_key"] is None:
            await self._storage.delete(key)


class NoPreviewError(ApiError):
    """The stored video cannot be decoded here, which is no fault of the request."""

    default_code = "preview_failed"
    should_retry = False

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"No preview of this video can be made: {reason}. The video itself can be downloaded."
        )


def _row(conn: Connection, project_id: str, video_id: str) -> RowMapping | None:
    statement: Any = select(*_COLUMNS).where(
        videos.c.project_id == project_id, videos.c.id == video_id, videos.c.deleted_at.is_(None)
    )
    return conn.execute(statement).mappings().first()


def _expired(video_id: str) -> NotFound:
    return NotFound(
        f"The content of the video '{video_id}' has expired and was removed.", code="content_expired"
    )
