"""Finding videos of a project: by words of their prompts, state, model, maker and time. Newest first.

A word matches where a word of the prompt begins with it, in any case; all of them must. SQLite, which is for one machine,
looks through the project's prompts. PostgreSQL first looks through the newest ones, where what many prompts say is found
at once, then asks an index that has the project as a word too, for what few or none say. It is never left to choose: it
takes a word for rare or frequent without knowing, and to look through 100,000 prompts takes it two seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    case,
    func,
    literal_column,
    select,
    true,
)

from gateway.videos import archive
from gateway.videos.capabilities import text_of
from gateway.videos.lists import groups_of
from gateway.videos.states import PUBLIC, TERMINAL, State
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import WORDS, videos
from gateway.videos.view import PUBLIC_COLUMNS, public_video
from gateway.words import words_of

Conditions = Sequence[ColumnElement[bool]]
_NEWEST: Final = 400
"""So many prompts are taken apart for a search: some 10 ms."""

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
    words = words_of(wanted.words)
    if wanted.words.strip() and not words:
        return [], False  # nothing but signs
    where = _where(project_id, wanted)
    if words and conn.dialect.name == "postgresql":
        rows = _by_words(conn, project_id, where, words, wanted.limit + 1)
    else:
        rows = _read(conn, [*where, *_said(words)], wanted.limit + 1)
    shown = rows[: wanted.limit]
    groups = groups_of(conn, shown)
    data = [{**public_video(row, groups.get(row["group_id"], ())), "key_id": row["key_id"]} for row in shown]
    return data, len(rows) > wanted.limit


def _where(project_id: str, wanted: Wanted) -> Conditions:
    c = videos.c
    where = [c.project_id == project_id, c.deleted_at.is_(None), *_equal(wanted)]
    if wanted.since is not None:
        where.append(c.created_at >= wanted.since * 1000)
    if wanted.until is not None:
        where.append(c.created_at < wanted.until * 1000)
    if wanted.after is not None:
        where.append(c.id < wanted.after)
    return where


def _read(conn: Connection, where: Conditions, limit: int) -> list[RowMapping]:
    statement = (
        select(*PUBLIC_COLUMNS, videos.c.key_id).where(*where).order_by(videos.c.id.desc()).limit(limit)
    )
    return list(conn.execute(statement).mappings())


def _by_words(
    conn: Connection, project_id: str, where: Conditions, words: list[str], limit: int
) -> list[RowMapping]:
    c = videos.c
    query = " & ".join([project_id.replace("_", ""), *(f"{word}:*" for word in words)])
    asked = func.to_tsquery(literal_column("'simple'::regconfig"), query)
    said: ColumnElement[bool] = literal_column(WORDS).bool_op("@@")(asked)
    newest = (
        select(c.id, c.project_id, c.prompt).where(*where).order_by(c.id.desc()).limit(_NEWEST).cte("newest")
    )
    looked = conn.execute(select(newest.c.id, said.label("said")).order_by(newest.c.id.desc())).all()
    found = [row.id for row in looked if row.said]
    if len(looked) == _NEWEST and len(found) < limit:
        older = select(c.id).where(*where, c.id < looked[-1].id, said).cte("older")
        indexed = older.prefix_with("MATERIALIZED")
        more = select(indexed.c.id).order_by(indexed.c.id.desc()).limit(limit - len(found))
        found += conn.execute(more).scalars()
    return _read(conn, [*where, c.id.in_(found[:limit])], limit)


def _said(words: list[str]) -> list[ColumnElement[bool]]:
    """SQLite's way: its own LIKE first, for it is ten times as fast as our function."""
    if not words:
        return []
    prompt = videos.c.prompt
    like = [prompt.op("LIKE")(f"%{word}%") for word in words if word.isascii()]
    exact = func.onereel_says(prompt, " ".join(words))
    return [case((and_(true(), *like), exact), else_=0) == 1]


def _equal(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        states = _STATES.get(wanted.status, [])
        found.append(videos.c.state.in_(states))
        if states == [State.FAILED]:
            found.append(videos.c.error_code.is_not(None))  # as their index says it, and the next
        elif not TERMINAL.intersection(states):
            found.append(videos.c.completed_at.is_(None))
    if wanted.model is not None:
        found.append(videos.c.model == wanted.model)
    if wanted.key_id is not None:
        found.append(videos.c.key_id == wanted.key_id)
    return found


def asked_for(conn: Connection, project_id: str, video_id: str) -> dict[str, Any] | None:
    """Read what one video was asked to be; None for one that is not of the project."""
    c = videos.c
    row = conn.execute(
        select(c.key_id, c.source_video_id, c.content_key, c.content_bytes, c.duration_ms).where(
            c.id == video_id, c.project_id == project_id, c.deleted_at.is_(None)
        )
    ).first()
    if row is None:
        return None
    asked = StoredRequest.model_validate(archive.request_of(conn, video_id) or {})
    return {
        "key_id": row.key_id,
        "source_video_id": row.source_video_id,
        "has_content": row.content_key is not None,
        "content_bytes": row.content_bytes,
        "duration_ms": row.duration_ms,
        "seconds": text_of(asked.seconds),
        "size": asked.size,
        "models": asked.models,
        "parameters": asked.parameters,
        "provider_options": asked.provider_options,
        "service_tier": (asked.prices or {}).get("tier", "default"),
        "media": [
            {
                "role": str(each.role),
                "media_type": each.media_type,
                "bytes": each.size,
                "url": each.url,
                "stored": each.storage_key is not None,
            }
            for each in asked.media
        ],
        "webhook_url": asked.webhook_url,
    }
