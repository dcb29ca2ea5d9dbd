"""Reading videos: one by its id, a page of a project, the members of a group. Deleted videos do not exist."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from gateway.videos.tables import videos
from gateway.videos.view import PUBLIC_COLUMNS, Row, public_video

_LIVE_ONE: Final = (
    videos.c.id == bindparam("video_id"),
    videos.c.project_id == bindparam("project_id"),
    videos.c.deleted_at.is_(None),
)
_ONE: Final = select(*PUBLIC_COLUMNS).where(*_LIVE_ONE)


def find(conn: Connection, project_id: str, video_id: str) -> dict[str, Any] | None:
    """Read one video as its public JSON."""
    row = conn.execute(_ONE, {"video_id": video_id, "project_id": project_id}).mappings().first()
    return None if row is None else public_video(row, group_of(conn, row))


def find_versioned(conn: Connection, project_id: str, video_id: str) -> tuple[int, dict[str, Any]] | None:
    """Read one video with its version."""
    row = conn.execute(_ONE, {"video_id": video_id, "project_id": project_id}).mappings().first()
    return None if row is None else (row["version"], public_video(row, group_of(conn, row)))


def group_of(conn: Connection, row: Row) -> Sequence[str]:
    """List the ids of the videos made by the same request, none for a single one."""
    if row["group_id"] is None:
        return ()
    return groups_of(conn, [row]).get(row["group_id"], ())


def groups_of(conn: Connection, rows: Sequence[Row]) -> dict[str, list[str]]:
    """List the members of every group that the rows touch; members of a group have the same owner."""
    wanted = {row["group_id"] for row in rows} - {None}
    if not wanted:
        return {}
    members: dict[str, list[str]] = {}
    query = select(videos.c.group_id, videos.c.id).where(
        videos.c.group_id.in_(wanted), videos.c.deleted_at.is_(None)
    )
    for member in conn.execute(query.order_by(videos.c.id)):
        members.setdefault(member.group_id, []).append(member.id)
    return members


def page(
    conn: Connection, project_id: str, *, after: str | None, limit: int, descending: bool
) -> tuple[list[dict[str, Any]], bool]:
    """Read one page of a project's videos and whether more follow."""
    c = videos.c
    query = select(*PUBLIC_COLUMNS).where(c.project_id == project_id, c.deleted_at.is_(None))
    if after is not None:
        query = query.where(c.id < after if descending else c.id > after)
    query = query.order_by(c.id.desc() if descending else c.id).limit(limit + 1)
    rows: list[Row] = list(conn.execute(query).mappings())
    shown = rows[:limit]
    groups = groups_of(conn, shown)
    return [public_video(row, groups.get(row["group_id"], ())) for row in shown], len(rows) > limit
