"""What remix, edit and extend work on: a completed video of the project, or a file the client brings."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, select

from gateway.db import Database
from gateway.errors import BadRequest, NotFound
from gateway.jobs.tables import attempts
from gateway.videos.fields import VideoRef
from gateway.videos.inputs import Accepted, Inputs
from gateway.videos.states import State
from gateway.videos.tables import videos
from providers.contract import MediaRole, Operation
from providers.spec import account_of_server

ROLES: Final = {
    Operation.REMIX: MediaRole.SOURCE,
    Operation.EDIT: MediaRole.SOURCE,
    Operation.EXTEND: MediaRole.EXTEND_FROM,
}


@dataclass(frozen=True, slots=True)
class Source:
    """A source ready to be worked on: its length, size, and bytes.

    `upstream` and `attempt_id` name who made it, where that was one of our own attempts. `media` is None once the
    bytes are gone.
    """

    seconds: Decimal
    size: str
    media: Accepted | None
    video_id: str | None = None
    model: str | None = None
    upstream: str | None = None
    attempt_id: str | None = None


class Sources:
    """Finds sources. Every refusal names the field."""

    def __init__(self, db: Database, inputs: Inputs) -> None:
        self._db = db
        self._inputs = inputs

    async def of_ref(self, project_id: str, ref: VideoRef, operation: Operation) -> Source:
        """Accept the `video` field of an edit or extension: an id, an uploaded file or a file_id."""
        if ref.id is not None:
            return await self.of_video(project_id, ref.id, operation, "video[id]")
        role = ROLES[operation]
        if ref.upload is not None:
            media = await self._inputs.video_file(ref.upload, role, "video")
        else:
            media = await self._inputs.video_file_of_project(
                project_id, ref.file_id or "", role, "video[file_id]"
            )
        return Source(media.seconds, f"{media.width}x{media.height}", media)

    async def of_video(self, project_id: str, video_id: str, operation: Operation, param: str) -> Source:
        """Accept a completed video. NotFound (video_not_found), BadRequest (video_not_ready)."""
        found = await self._db.read(lambda conn: _load(conn, project_id, video_id))
        if found is None:
            raise NotFound(f"No video '{video_id}' in this project.", param=param, code="video_not_found")
        video, attempt = found
        if video.state != State.COMPLETED:
            raise BadRequest(
                f"The video '{video_id}' is not completed: wait for it, or name another one.",
                param=param,
                code="video_not_ready",
            )
        source = Source(
            Decimal(video.seconds), video.size, _bytes_of(video, operation, param), video.id, video.model
        )
        if attempt is None:
            return source
        return replace(source, upstream=account_of_server(attempt.upstream), attempt_id=attempt.id)


def require_bytes(source: Source, param: str) -> Accepted:
    """Give the source's bytes. BadRequest (video_expired) once they are gone."""
    if source.media is None:
        raise BadRequest(
            f"The content of the video '{source.video_id}' has expired: name another video, or upload the file.",
            param=param,
            code="video_expired",
        )
    return source.media


def still_there(conn: Connection, project_id: str, video_id: str) -> bool:
    """Whether a source was not deleted meanwhile; locks it, so that a delete sees the new dependant or is seen."""
    query = select(videos.c.id).where(
        videos.c.id == video_id, videos.c.project_id == project_id, videos.c.deleted_at.is_(None)
    )
    return conn.execute(query.with_for_update(read=True)).first() is not None


def _bytes_of(video: Any, operation: Operation, param: str) -> Accepted | None:
    if video.content_key is None:
        return None
    return Accepted(
        ROLES[operation],
        param,
        media_type=video.content_type,
        size=video.content_bytes,
        name="source.mp4",
        storage_key=video.content_key,
    )


def _load(conn: Connection, project_id: str, video_id: str) -> tuple[Any, Any] | None:
    c = videos.c
    video = conn.execute(
        select(
            c.id, c.model, c.state, c.seconds, c.size, c.content_key, c.content_type, c.content_bytes
        ).where(c.id == video_id, c.project_id == project_id, c.deleted_at.is_(None))
    ).first()
    if video is None:
        return None
    delivered = (
        select(attempts.c.id, attempts.c.upstream)
        .where(attempts.c.video_id == video_id, attempts.c.state == "completed")
        .order_by(attempts.c.n.desc())
        .limit(1)
    )
    return video, conn.execute(delivered).first()
