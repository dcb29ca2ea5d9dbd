"""Uploaded files of a project: kept with what they really are, for use as inputs and in batches.

A row whose `deleted_at` is set has no claim on its bytes: the sweeper removes both. A file begins and ends that
way, so a crash at any point leaves nothing behind for ever.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, insert, or_, select, update

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_group import DatabaseAway
from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.files.tables import files
from gateway.idempotency.service import Answer, Claim, record
from gateway.ids import new_id
from gateway.media import MediaError
from gateway.media.pool import MediaTools
from gateway.media.sniff import sniff_file
from gateway.storage import Storage, StorageError

PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
OPAQUE: Final = "application/octet-stream"
_MAX_NAME: Final = 200
_UNSAFE: Final = re.compile(r"[^\w .()\[\]+@=-]")

Row = Mapping[Any, Any]
"""A row of `files` by column name."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """An upload on our disk: bytes, the client's own name, lifetime in seconds (None: until deleted)."""

    path: Path
    size: int
    filename: str
    purpose: str
    lifetime: int | None = None


class FileService:
    """Creates, finds and deletes files. Everything is scoped by project; a foreign id is NotFound."""

    def __init__(self, db: Database, storage: Storage, media: MediaTools, clock: Clock) -> None:
        self._db = db
        self._storage = storage
        self._media = media
        self._clock = clock

    async def create(self, project_id: str, new: NewFile, claim: Claim | None = None) -> Answer:
        """Look at the file, keep it, answer its object. BadRequest for a file that lies about what it is."""
        media_type, facts = await self._look(new)
        row = self._row(project_id, new, media_type, facts)
        await self._db.write(lambda conn: conn.execute(insert(files).values(row)))
        try:
            stored = await self._storage.put_file(row["storage_key"], new.path, content_type=media_type)
            row |= {"sha256": stored.sha256, "bytes": stored.bytes, "deleted_at": None}
            answer = public_file(row)

            def commit(conn: Connection) -> None:
                conn.execute(update(files).where(files.c.id == row["id"]).values(row))
                record(conn, claim, 200, answer, row["created_at"])

            await self._db.write(commit)
        except DatabaseAway:  # it may stand, and its bytes with it; where not, the sweeper takes both
            raise
        except StorageError as error:
            await self._remove(row)
            raise Unavailable("The file cannot be stored right now.", code="storage_unavailable") from error
        except Exception:
            await self._remove(row)
            raise
        return 200, answer

    async def retrieve(self, project_id: str, file_id: str) -> Row:
        """Read one file's row. NotFound when it is foreign, deleted or expired."""
        now = self._clock.now_ms()
        row = await self._db.read(lambda conn: _find(conn, project_id, file_id, now))
        if row is None:
            raise NotFound(
                f"No file with the id '{file_id[:100]}' exists.", param="file_id", code="file_not_found"
            )
        return row

    async def list_files(
        self, project_id: str, *, limit: int, after: str | None, descending: bool, purpose: str | None
    ) -> tuple[Sequence[Row], bool]:
        """Read one page, and whether there are more. BadRequest for an unknown cursor."""
        now = self._clock.now_ms()

        def page(conn: Connection) -> Sequence[Row]:
            if after is not None and _find(conn, project_id, after, now) is None:
                raise BadRequest("'after' names no file of this project.", param="after")
            statement = _alive(project_id, now)
            if purpose is not None:
                statement = statement.where(files.c.purpose == purpose)
            if after is not None:
                statement = statement.where(files.c.id < after if descending else files.c.id > after)
            order = files.c.id.desc() if descending else files.c.id.asc()
            return conn.execute(statement.order_by(order).limit(limit + 1)).mappings().all()

        rows = await self._db.read(page)
        return rows[:limit], len(rows) > limit

    async def delete(self, project_id: str, file_id: str) -> None:
        """Remove the file and its bytes. NotFound when there is none."""
        row = await self.retrieve(project_id, file_id)
        now = self._clock.now_ms()
        mark = update(files).where(files.c.id == row["id"]).values(deleted_at=now)
        await self._db.write(lambda conn: conn.execute(mark))
        await self._remove(row)

    async def _look(self, new: NewFile) -> tuple[str, dict[str, Any]]:
        if new.size == 0:
            raise BadRequest("The file is empty.", param="file", code="invalid_file")
        if sniff_file(new.path) is None:
            return OPAQUE, {}
        try:
            facts = await self._media.probe(new.path)
        except MediaError as error:
            raise BadRequest(
                f"The file cannot be used: {error}.", param="file", code="invalid_file"
            ) from error
        return facts.media_type, asdict(facts)

    def _row(self, project_id: str, new: NewFile, media_type: str, facts: dict[str, Any]) -> dict[str, Any]:
        now = self._clock.now_ms()
        file_id = new_id("file")
        return {
            "id": file_id,
            "project_id": project_id,
            "purpose": new.purpose,
            "filename": safe_filename(new.filename),
            "media_type": media_type,
            "bytes": new.size,
            "sha256": "",
            "facts": facts,
            "storage_key": f"files/{file_id}",
            "created_at": now,
            "expires_at": None if new.lifetime is None else now + new.lifetime * 1000,
            "deleted_at": now,
        }

    async def _remove(self, row: Row) -> None:
        """Bytes first, then the row; what fails here the sweeper does later."""
        try:
            await self._storage.delete(row["storage_key"])
        except StorageError:
            return
        await self._db.write(lambda conn: conn.execute(delete(files).where(files.c.id == row["id"])))


def public_file(row: Row) -> dict[str, Any]:
    """Build the JSON of one file, times in unix seconds."""
    body = {
        "id": row["id"],
        "object": "file",
        "bytes": row["bytes"],
        "created_at": row["created_at"] // 1000,
        "filename": row["filename"],
        "purpose": row["purpose"],
        "status": "processed",
    }
    if row["expires_at"] is not None:
        body["expires_at"] = row["expires_at"] // 1000
    return body


def safe_filename(name: str) -> str:
    """Reduce a client's name to a plain last path segment of at most 200 characters; its suffix survives."""
    last = re.split(r"[/\\]", name)[-1]
    clean = _UNSAFE.sub("_", last).strip(" .")
    if len(clean) > _MAX_NAME:
        stem, dot, suffix = clean.rpartition(".")
        tail = dot + suffix[:20] if stem else ""
        clean = clean[: _MAX_NAME - len(tail)] + tail
    return clean or "file"


def _alive(project_id: str, now: int) -> Select[Any]:
    return select(files).where(
        files.c.project_id == project_id, files.c.deleted_at.is_(None), _unexpired(now)
    )


def _unexpired(now: int) -> ColumnElement[bool]:
    return or_(files.c.expires_at.is_(None), files.c.expires_at > now)


def _find(conn: Connection, project_id: str, file_id: str, now: int) -> Row | None:
    return conn.execute(_alive(project_id, now).where(and_(files.c.id == file_id))).mappings().first()
