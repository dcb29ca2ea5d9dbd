"""Cancel and delete. A deleted video is gone for the client at once; its ledger and usage rows stay."""

from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Connection, select, update

from gateway.db import Database, now_ms
from gateway.jobs.tables import jobs
from gateway.storage import Storage, StorageError
from gateway.videos import lists
from gateway.videos.states import LIVE, TERMINAL, State
from gateway.videos.tables import videos

log = structlog.get_logger(__name__)

_UNANSWERED: Final = frozenset({State.SUBMITTING, State.SUBMISSION_UNKNOWN})


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete found: whether the video still runs, and whether its bytes may go now."""

    live: bool
    bytes_free: bool


def cancel(conn: Connection, project_id: str, video_id: str) -> dict[str, Any] | None:
    """Ask for the end of a live video; answers the video as it is now, None if there is none."""
    c = videos.c
    asked = conn.execute(
        update(videos)
        .where(
            c.id == video_id,
            c.project_id == project_id,
            c.deleted_at.is_(None),
            c.state.in_(LIVE),
            c.cancel_requested.is_(False),
        )
        .values(cancel_requested=True)
    )
    if asked.rowcount:
        _wake(conn, video_id)
    return lists.find(conn, project_id, video_id)


def delete(conn: Connection, project_id: str, video_id: str) -> Deleted | None:
    """Mark a video deleted, cancel it if it is live, erase the prompt; None if there is none.

    A submission whose answer is not known yet keeps the prompt: it may have to be sent again, word for word.
    `expires_at` is set to now, so that the retention sweep removes bytes that cannot go at once.
    """
    c = videos.c
    state = conn.execute(
        update(videos)
        .where(c.id == video_id, c.project_id == project_id, c.deleted_at.is_(None))
        .values(deleted_at=now_ms(), expires_at=now_ms(), cancel_requested=True, version=c.version + 1)
        .returning(c.state)
    ).scalar()
    if state is None:
        return None
    if state not in _UNANSWERED:
        conn.execute(update(videos).where(c.id == video_id).values(prompt=None))
    if state in LIVE:
        _wake(conn, video_id)
        return Deleted(live=True, bytes_free=False)
    return Deleted(live=False, bytes_free=not has_live_dependants(conn, video_id))


def has_live_dependants(conn: Connection, video_id: str) -> bool:
    """Whether a remix, edit or extension of the video is still being made."""
    c = videos.c
    query = select(c.id).where(c.source_video_id == video_id, c.state.not_in(TERMINAL)).limit(1)
    return conn.execute(query).first() is not None


async def remove_bytes(db: Database, storage: Storage, video_id: str) -> None:
    """Remove a deleted video's content and inputs; what fails is left to the retention sweep."""
    try:
        await storage.delete_prefix(f"videos/{video_id}/")
        await storage.delete_prefix(f"inputs/{video_id}/")
    except StorageError as error:
        log.warning("video_bytes_not_removed", video_id=video_id, reason=str(error))
        return
    await db.write(
        lambda conn: conn.execute(update(videos).where(videos.c.id == video_id).values(content_key=None)),
        background=True,
    )


def _wake(conn: Connection, video_id: str) -> None:
    conn.execute(update(jobs).where(jobs.c.id == video_id).values(due=now_ms(), parked_for=None))
