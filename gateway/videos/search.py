"""Finding videos of a project: by words of their prompts, state, model, maker and time. Newest first.

A word matches where a word of the prompt begins with it, in any case; all of them must. PostgreSQL looks them up in an
index that has the project as a word too; SQLite, which is for one machine, looks through the project's prompts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select, text

from gateway.videos import archive
from gateway.videos.capabilities import text_of
from gateway.videos.lists import groups_of
from gateway.videos.states import PUBLIC
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import WORDS, videos
from gateway.videos.view import PUBLIC_COLUMNS, public_video
from gateway.words import words_of

STATUSES: Final = tuple(dict.fromkeys(PUBLIC.values()))
_STATES: Final[Mapping[str, list[str]]] = {
    status: [state for state, public in PUBLIC.items() if public == status] for status in STATUSES
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which videos: None and "" want all. Times in Unix seconds; `after` is the id that the page comes behind."""

    words: str = ""
    status: str | None = None
    model: str | None = None
    key_id: str | None = None
    since: int | None = None
    until: int | None = None
    after: str | None = None
    limit: int = 24


def search(conn: Connection, project_id: str, wanted: Wanted) -> tuple[list[dict[str, Any]], bool]:
    """Read a page: public videos, each with `key_id`, and whether more follow."""
    statement = _statement(conn.dialect.name, project_id, wanted)
    rows = list(conn.execute(statement).mappings())
    shown = rows[: wanted.limit]
    groups = groups_of(conn, shown)
    data = [{**public_video(row, groups.get(row["group_id"], ())), "key_id": row["key_id"]} for row in shown]
    return data, len(rows) > wanted.limit


def _statement(dialect: str, project_id: str, wanted: Wanted) -> Select[Any]:
    c = videos.c
    where = [c.project_id == project_id, c.deleted_at.is_(None), *_equal(wanted)]
    if wanted.since is not None:
        where.append(c.created_at >= wanted.since * 1000)
    if wanted.until is not None:
        where.append(c.created_at < wanted.until * 1000)
    if wanted.after is not None:
        where.append(c.id < wanted.after)
    if words := words_of(wanted.words):
        where.append(_said(dialect, project_id, words))
    return select(*PUBLIC_COLUMNS, c.key_id).where(*where).order_by(c.id.desc()).limit(wanted.limit + 1)


def _equal(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        found.append(videos.c.state.in_(_STATES.get(wanted.status, [])))
    if wanted.model is not None:
        found.append(videos.c.model == wanted.model)
    if wanted.key_id is not None:
        found.append(videos.c.key_id == wanted.key_id)
    return found


def _said(dialect: str, project_id: str, words: list[str]) -> ColumnElement[bool]:
    if dialect == "sqlite":
        return func.onereel_says(videos.c.prompt, " ".join(words)) == 1
    query = " & ".join([project_id, *(f"{word}:*" for word in words)])
    asked: ColumnElement[bool] = text(f"{WORDS} @@ to_tsquery('simple'::regconfig, :words)").bindparams(  # type: ignore[assignment]  # a condition in words
        words=query
    )
    return asked


def asked_for(conn: Connection, project_id: str, video_id: str) -> dict[str, Any] | None:
    """Read what one video was asked to be; None for one that is not of the project."""
    c = videos.c
    row = conn.execute(
        select(c.key_id, c.source_video_id, c.content_bytes, c.duration_ms).where(
            c.id == video_id, c.project_id == project_id, c.deleted_at.is_(None)
        )
    ).first()
    if row is None:
        return None
    asked = StoredRequest.model_validate(archive.request_of(conn, video_id) or {})
    return {
        "key_id": row.key_id,
        "source_video_id": row.source_video_id,
        "content_bytes": row.content_bytes,
        "duration_ms": row.duration_ms,
        "seconds": text_of(asked.seconds),
        "size": asked.size,
        "models": asked.models,
        "parameters": asked.parameters,
        "provider_options": asked.provider_options,
        "service_tier": (asked.prices or {}).get("tier", "default"),
        "media": [
            {"role": str(each.role), "media_type": each.media_type, "bytes": each.size, "url": each.url}
            for each in asked.media
        ],
        "webhook_url": asked.webhook_url,
    }
