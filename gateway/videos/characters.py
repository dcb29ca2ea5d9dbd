"""Characters: a name and a short reference clip of the project, shown to models that take them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection, insert, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_group import DatabaseAway
from gateway.errors import NotFound, Unavailable
from gateway.files.tables import characters
from gateway.idempotency.service import Claim, record
from gateway.ids import new_id
from gateway.storage import Storage, StorageError
from gateway.videos.inputs import Inputs
from gateway.videos.request import CharacterBody, parse
from providers.contract import MediaRole

log = structlog.get_logger(__name__)

_CHARACTER_ID: Final = re.compile(r"char_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Characters:
    """Makes and reads characters."""

    db: Database
    clock: Clock
    storage: Storage
    inputs: Inputs

    async def create(
        self, project_id: str, fields: Mapping[str, Any], claim: Claim | None = None
    ) -> dict[str, Any]:
        """Keep a reference clip. BadRequest for anything but a name and a video file."""
        body = parse(CharacterBody, fields)
        clip = await self.inputs.video_file(body.video, MediaRole.CHARACTER, "video")
        now, character_id = self.clock.now_ms(), new_id("char")
        key = f"characters/{character_id}"
        row = {
            "id": character_id,
            "project_id": project_id,
            "name": body.name,
            "media_type": clip.media_type,
            "bytes": clip.size,
            "storage_key": key,
            "created_at": now,
        }
        answer = public_character(row)

        def write(conn: Connection) -> None:
            record(conn, claim, 200, answer, now)
            conn.execute(insert(characters).values(row))

        await self._keep(key, body.video.path, clip.media_type)
        try:
            await self.db.write(write)
        except DatabaseAway:  # it may be there, and its clip must be too
            raise
        except Exception:
            await self._discard(key)
            raise
        return answer

    async def retrieve(self, project_id: str, character_id: str) -> dict[str, Any]:
        """Read one. NotFound (character_not_found)."""
        query = select(characters).where(
            characters.c.id == character_id, characters.c.project_id == project_id
        )
        known = _CHARACTER_ID.fullmatch(character_id) is not None
        row = await self.db.read(lambda conn: conn.execute(query).mappings().first()) if known else None
        if row is None:
            raise NotFound(
                f"No character '{character_id[:100]}' in this project.",
                param="character_id",
                code="character_not_found",
            )
        return public_character(dict(row))

    async def _keep(self, key: str, path: Path, media_type: str) -> None:
        try:
            await self.storage.put_file(key, path, content_type=media_type)
        except StorageError as error:
            log.warning("character_not_stored", key=key, reason=str(error))
            raise Unavailable(
                "The server cannot store the clip right now; retry later.", code="storage_unavailable"
            ) from error

    async def _discard(self, key: str) -> None:
        try:
            await self.storage.delete(key)
        except StorageError as error:
            log.warning("character_not_removed", key=key, reason=str(error))


def public_character(row: Mapping[str, Any]) -> dict[str, Any]:
    """Build the JSON of one character; times in unix seconds."""
    return {
        "id": row["id"],
        "object": "character",
        "name": row["name"],
        "created_at": row["created_at"] // 1000,
    }
