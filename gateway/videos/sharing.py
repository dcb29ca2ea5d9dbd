"""Public links to a video: whoever has one sees that video, and nothing else, until it ends or is withdrawn."""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from gateway.audit.notes import Of, caller
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest, NotFound
from gateway.ids import new_id
from gateway.keys.tokens import digest
from gateway.principal import Principal, Scope
from gateway.videos import lists
from gateway.videos.tables import share_links

LIFETIMES: Final = {"1h": 3600, "1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
"""How long a link is good, in seconds, by name."""
_MOST: Final = 100

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shared:
    """What a link leads to; `video` has no prompt unless the link was made with it."""

    project_id: str
    video: Json
    expires_at: int


class Sharing:
    """Links of the caller's project. Raises ApiError."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def share(self, principal: Principal, video_id: str, lifetime: str, *, with_prompt: bool) -> str:
        """Make a link to a completed video: its token, which is told this once."""
        principal.require(Scope.VIDEOS_WRITE)
        if lifetime not in LIFETIMES:
            raise BadRequest(f"'lifetime' must be one of {', '.join(LIFETIMES)}.", param="lifetime")
        token, now, by = secrets.token_urlsafe(24), self._clock.now_ms(), caller(principal)
        of = Of(principal.organization_id, principal.project_id)
        values = {
            "id": new_id("share"),
            "hash": digest(token),
            "organization_id": principal.organization_id,
            "project_id": principal.project_id,
            "video_id": video_id,
            "with_prompt": with_prompt,
            "created_by": principal.key_id,
            "created_at": now,
            "expires_at": now + LIFETIMES[lifetime] * 1000,
        }

        def write(conn: Connection) -> None:
            video = lists.find(conn, principal.project_id, video_id)
            if video is None:
                raise _no_video(video_id)
            if video["status"] != "completed":
                raise BadRequest("Only a completed video can be shared.", code="video_not_ready")
            conn.execute(insert(share_links).values(values))
            told = {"video_id": video_id, "with_prompt": with_prompt, "lifetime": lifetime}
            by.note(conn, "share_link.created", str(values["id"]), of, after=told)

        await self._db.write(write)
        return token

    async def links(self, principal: Principal, video_id: str) -> list[Json]:
        """List the links to a video that are good, the newest first. Times in Unix seconds."""
        now = self._clock.now_ms()
        good = (
            select(share_links)
            .where(
                share_links.c.video_id == video_id,
                share_links.c.project_id == principal.project_id,
                share_links.c.revoked_at.is_(None),
                share_links.c.expires_at > now,
            )
            .order_by(share_links.c.id.desc())
            .limit(_MOST)
        )
        rows = await self._db.read(lambda conn: conn.execute(good).all())
        return [
            {
                "id": row.id,
                "with_prompt": row.with_prompt,
                "created_by": row.created_by,
                "created_at": row.created_at // 1000,
                "expires_at": row.expires_at // 1000,
            }
            for row in rows
        ]

    async def revoke(self, principal: Principal, link_id: str) -> None:
        """Withdraw a link. NotFound for another project's."""
        principal.require(Scope.VIDEOS_WRITE)
        now, by = self._clock.now_ms(), caller(principal)
        own = share_links.c.id == link_id, share_links.c.project_id == principal.project_id

        def write(conn: Connection) -> None:
            if not conn.execute(update(share_links).where(*own).values(revoked_at=now)).rowcount:
                raise NotFound(f"No link '{link_id[:64]}' in this project.", code="share_link_not_found")
            by.note(conn, "share_link.deleted", link_id, Of(principal.organization_id, principal.project_id))

        await self._db.write(write)

    async def find(self, token: str) -> Shared:
        """Follow a link. NotFound for one that is over, withdrawn, or whose video is gone."""
        now = self._clock.now_ms()
        good = (
            share_links.c.hash == digest(token),
            share_links.c.revoked_at.is_(None),
            share_links.c.expires_at > now,
        )

        def read(conn: Connection) -> tuple[Row[Any], Json] | None:
            link = conn.execute(select(share_links).where(*good)).first()
            video = None if link is None else lists.find(conn, link.project_id, link.video_id)
            return None if link is None or video is None else (link, video)

        found = await self._db.read(read)
        if found is None:
            raise NotFound("This link has ended, or was withdrawn.", code="share_link_over")
        link, video = found
        shown = video if link.with_prompt else {**video, "prompt": None}
        return Shared(link.project_id, shown, link.expires_at // 1000)


def _no_video(video_id: str) -> NotFound:
    return NotFound(f"No video '{video_id[:100]}' in this project.", param="video_id", code="video_not_found")
