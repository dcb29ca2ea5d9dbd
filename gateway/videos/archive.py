"""The archive: what nobody asks of an old video any more, compressed and out of the tables that are worked on.

Of a terminal video its `request`, of its ended attempts `handle`, `outputs` and `error` move, one archive row a video.
What lists, usage and the ledger read stays where it is. Whoever reads one of the moved columns of a video that may be
old reads it through `request_of`, `attempts_of` or `attempt`.

A mark says how far the archive has come, in the order in which videos ended; who holds it is the one that moves.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    null,
    or_,
    select,
    text,
    update,
)

from gateway.db import json_text, metadata
from gateway.jobs.tables import attempts
from gateway.videos.states import TERMINAL
from gateway.videos.tables import videos

video_archive = Table(
    "video_archive",
    metadata,
    Column("id", String(64), primary_key=True),  # the video's
    Column("body", LargeBinary, nullable=False),  # zlib of {"request": ..., "attempts": {id: {column: ...}}}
)
archive_mark = Table(
    "archive_mark",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("completed_at", BigInteger, nullable=False),
    Column("video_id", String(64), nullable=False),
)

BATCH: Final = 100
"""Videos in one transaction."""
MOVED: Final[Mapping[str, Any]] = {}
"""What `videos.request` holds once it has moved."""
_FIRST_MARK: Final = text(
    "INSERT INTO archive_mark (id, completed_at, video_id) VALUES (1, 0, '') ON CONFLICT DO NOTHING"
)
_COLUMNS: Final = ("handle", "outputs", "error")
_EMPTY_REQUEST: Final = update(videos).where(videos.c.id == bindparam("video")).values(request=dict(MOVED))
_EMPTY_ATTEMPTS: Final = (
    update(attempts)
    .where(attempts.c.id.in_(bindparam("ids", expanding=True)))
    .values(dict.fromkeys(_COLUMNS, null()))
)
_REQUEST: Final = update(videos).where(videos.c.id == bindparam("video")).values(request=bindparam("told"))
_ATTEMPT: Final = (
    update(attempts)
    .where(attempts.c.id == bindparam("attempt"))
    .values({name: bindparam(f"told_{name}") for name in _COLUMNS})
)


def move(conn: Connection, before: int, batch: int = BATCH) -> int:
    """Move the next videos that ended before the time (milliseconds). Fewer than `batch`: there are no more, or another
    process is at it."""
    mark = _mark(conn)
    if mark is None:
        return 0
    c = videos.c
    beyond = or_(c.completed_at > mark.completed_at, c.id > mark.video_id)
    query = (
        select(c.id, c.completed_at, c.request)
        .where(c.completed_at >= mark.completed_at, c.completed_at < before, beyond, c.state.in_(TERMINAL))
        .order_by(c.completed_at, c.id)
        .limit(batch)
    )
    rows = conn.execute(query).all()
    if not rows:
        return 0
    _put_away(conn, [row for row in rows if row.request != MOVED])
    last = rows[-1]
    conn.execute(update(archive_mark).values(completed_at=last.completed_at, video_id=last.id))
    return len(rows)


def request_of(conn: Connection, video_id: str) -> dict[str, Any] | None:
    """`videos.request`, wherever it lies; None for a video that is not there."""
    found: dict[str, Any] | None = conn.execute(
        select(videos.c.request).where(videos.c.id == video_id)
    ).scalar()
    return _archived(conn, video_id).get("request", found) if found == MOVED else found


def attempts_of(conn: Connection, video_id: str) -> list[Mapping[str, Any]]:
    """The attempts of a video as rows, the first one first, with what of them lies in the archive."""
    query = select(attempts).where(attempts.c.video_id == video_id).order_by(attempts.c.n)
    kept = _archived(conn, video_id).get("attempts", {})
    return [{**row, **kept.get(row["id"], {})} for row in conn.execute(query).mappings()]


def attempt(conn: Connection, attempt_id: str) -> Mapping[str, Any] | None:
    """One of them by its id."""
    row = conn.execute(select(attempts).where(attempts.c.id == attempt_id)).mappings().first()
    if row is None:
        return None
    if any(row[name] is not None for name in _COLUMNS):
        return dict(row)
    return {**row, **_archived(conn, row["video_id"]).get("attempts", {}).get(attempt_id, {})}


def bring_back(conn: Connection, batch: int = BATCH) -> int:
    """Undo it for some videos: what a release without an archive needs. How many."""
    rows = conn.execute(select(video_archive).order_by(video_archive.c.id).limit(batch)).all()
    for row in rows:
        body = _unpacked(row.body)
        conn.execute(_REQUEST, {"video": row.id, "told": body["request"]})
        told = [
            {"attempt": attempt_id, **{f"told_{name}": kept.get(name) for name in _COLUMNS}}
            for attempt_id, kept in body["attempts"].items()
        ]
        if told:
            conn.execute(_ATTEMPT, told)
    conn.execute(delete(video_archive).where(video_archive.c.id.in_([row.id for row in rows])))
    return len(rows)


def _mark(conn: Connection) -> Any:
    """The mark, locked; None while another process holds it."""
    held = select(archive_mark).with_for_update(skip_locked=True)
    mark = conn.execute(held).first()
    if mark is None and conn.execute(select(archive_mark.c.id)).first() is None:
        conn.execute(_FIRST_MARK)
        mark = conn.execute(held).first()
    return mark


def _put_away(conn: Connection, rows: Sequence[Any]) -> None:
    if not rows:
        return
    # one that still goes on upstream has no end yet, and stays whole
    ended = select(attempts.c.id, attempts.c.video_id, *(attempts.c[name] for name in _COLUMNS)).where(
        and_(attempts.c.video_id.in_([row.id for row in rows]), attempts.c.finished_at.is_not(None))
    )
    moved: dict[str, dict[str, Any]] = {row.id: {} for row in rows}
    for row in conn.execute(ended).mappings():
        moved[row["video_id"]][row["id"]] = {name: row[name] for name in _COLUMNS if row[name] is not None}
    bodies = [{"id": row.id, "body": _packed(row.request, moved[row.id])} for row in rows]
    conn.execute(insert(video_archive), bodies)
    conn.execute(_EMPTY_REQUEST, [{"video": row.id} for row in rows])
    ids = [attempt_id for each in moved.values() for attempt_id in each]
    if ids:
        conn.execute(_EMPTY_ATTEMPTS, {"ids": ids})


def _packed(request: Any, kept: Mapping[str, Any]) -> bytes:
    return zlib.compress(json_text({"request": request, "attempts": kept}).encode(), 6)


def _unpacked(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(body))
    return found


def _archived(conn: Connection, video_id: str) -> dict[str, Any]:
    body = conn.execute(select(video_archive.c.body).where(video_archive.c.id == video_id)).scalar()
    return {} if body is None else _unpacked(body)
