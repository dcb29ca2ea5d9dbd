"""Input files of a video: looked at before acceptance, kept in our storage under inputs/{video_id}/{n}."""

import asyncio
import base64
import binascii
import os
import re
import tempfile
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection, or_, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest, NotFound, PayloadTooLarge, Unavailable
from gateway.files.tables import characters, files
from gateway.media import MediaError, MediaFacts
from gateway.media.pool import MediaTools
from gateway.settings import Settings
from gateway.storage import Storage, StorageError
from gateway.videos.fields import ImageRef, Upload
from gateway.videos.stored import StoredMedia
from providers.contract import MediaRole
from providers.urls import UnsafeUrl, check_public_url

log = structlog.get_logger(__name__)

_DATA_URL: Final = re.compile(r"data:(?P<type>[A-Za-z0-9.+/-]{0,100})(?:;[A-Za-z0-9=.+_-]{1,100})*;base64,")
_TENTH: Final = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Accepted:
    """One input that passed: a local file or an object of ours to copy, an object used in place, or a URL.

    `width` and `height` in pixels and `duration_ms` where they are known. Exactly one of `path`, `copy_from`,
    `storage_key` and `url` is set.
    """

    role: MediaRole
    param: str
    media_type: str = ""
    size: int = 0
    name: str = ""
    path: Path | None = None
    copy_from: str | None = None
    storage_key: str | None = None
    url: str | None = None
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None

    @property
    def seconds(self) -> Decimal:
        """The length of a video, to a tenth of a second."""
        return max(_TENTH, (Decimal(self.duration_ms or 0) / 1000).quantize(_TENTH, rounding=ROUND_HALF_UP))


class Inputs:
    """Checks and keeps input files. Every refusal names the field; the storage failing is Unavailable."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: Settings,
        *,
        storage: Storage,
        media: MediaTools,
        upload_dir: Path,
    ) -> None:
        self._db = db
        self._clock = clock
        self._limits = settings.limits
        self._private_hosts = settings.security.allowed_private_hosts
        self._storage = storage
        self._media = media
        self._upload_dir = upload_dir

    def check_url(self, url: str, param: str) -> None:
        """BadRequest unless the URL may be public http(s)."""
        try:
            check_public_url(url, self._private_hosts)
        except UnsafeUrl as error:
            raise BadRequest(f"Invalid '{param}': {error}.", param=param, code="invalid_url") from error

    async def image(
        self, project_id: str, ref: ImageRef, role: MediaRole, param: str, temporary: list[Path]
    ) -> Accepted:
        """Accept an image; a public URL is only checked, its bytes come with the first job step.

        The bytes of a data: URL lie in a file that is added to `temporary`: the caller removes it.
        """
        if (upload := ref.upload) is not None:
            return await self._image_file(upload.path, upload.size, role, param, upload.filename)
        if ref.file_id is not None:
            found = await self.file(project_id, ref.file_id, role, f"{param}[file_id]")
            if not found.media_type.startswith("image/"):
                raise _not_an_image(f"{param}[file_id]", found.media_type)
            return found
        url, param = ref.image_url or "", f"{param}[image_url]"
        if url[:5].lower() == "data:":
            data = await asyncio.to_thread(_decode_data_url, url, param)
            self._check_size(len(data), self._limits.image_bytes, param)
            path = await asyncio.to_thread(_write, data, self._upload_dir)
            temporary.append(path)
            return await self._image_file(path, len(data), role, param, "image")
        self.check_url(url, param)
        return Accepted(role, param, url=url)

    async def video_file(self, upload: Upload, role: MediaRole, param: str) -> Accepted:
        """Accept an uploaded video."""
        self._check_size(upload.size, self._limits.video_bytes, param)
        facts = await self._probe(upload.path, param)
        if facts.kind != "video" or facts.duration_ms is None:
            raise _not_a_video(param, facts.media_type)
        self._check_length(facts.duration_ms, param)
        return _with_facts(
            Accepted(role, param, path=upload.path, size=upload.size, name=upload.filename), facts
        )

    async def file(self, project_id: str, file_id: str, role: MediaRole, param: str) -> Accepted:
        """Accept a file of the project: probed when it was uploaded. NotFound (file_not_found)."""
        now = self._clock.now_ms()
        row = await self._db.read(lambda conn: _file_row(conn, project_id, file_id, now))
        if row is None:
            raise NotFound(
                f"No file '{file_id}' in this project: upload it with POST /v1/files.",
                param=param,
                code="file_not_found",
            )
        facts = row.facts or {}
        return Accepted(
            role,
            param,
            media_type=row.media_type,
            size=row.bytes,
            name=row.filename,
            copy_from=row.storage_key,
            width=facts.get("width"),
            height=facts.get("height"),
            duration_ms=facts.get("duration_ms"),
        )

    async def video_file_of_project(
        self, project_id: str, file_id: str, role: MediaRole, param: str
    ) -> Accepted:
        """Accept a video that was uploaded as a file."""
        found = await self.file(project_id, file_id, role, param)
        if not found.media_type.startswith("video/") or found.duration_ms is None:
            raise _not_a_video(param, found.media_type)
        self._check_length(found.duration_ms, param)
        return found

    async def characters(self, project_id: str, ids: list[str]) -> list[Accepted]:
        """Accept characters of the project in the client's order. NotFound (character_not_found)."""
        rows = await self._db.read(lambda conn: _character_rows(conn, project_id, ids))
        accepted = []
        for n, character_id in enumerate(ids):
            row, param = rows.get(character_id), f"characters[{n}][id]"
            if row is None:
                raise NotFound(
                    f"No character '{character_id}' in this project: make it with POST /v1/videos/characters.",
                    param=param,
                    code="character_not_found",
                )
            accepted.append(
                Accepted(
                    MediaRole.CHARACTER,
                    param,
                    media_type=row.media_type,
                    size=row.bytes,
                    name=row.name,
                    copy_from=row.storage_key,
                )
            )
        return accepted

    async def keep(self, video_id: str, accepted: list[Accepted]) -> list[StoredMedia]:
        """Put the inputs of one video where its job finds them."""
        return [await self._keep_one(f"inputs/{video_id}/{n}", each) for n, each in enumerate(accepted)]

    async def discard(self, video_ids: list[str]) -> None:
        """Remove what `keep` stored for videos that were refused after all."""
        for video_id in video_ids:
            try:
                await self._storage.delete_prefix(f"inputs/{video_id}/")
            except StorageError as error:
                log.warning("inputs_not_removed", video_id=video_id, reason=str(error))

    async def _keep_one(self, key: str, each: Accepted) -> StoredMedia:
        try:
            if each.path is not None:
                await self._storage.put_file(key, each.path, content_type=each.media_type)
            elif each.copy_from is not None:
                source = self._storage.stream(each.copy_from)
                await self._storage.put(key, source, content_type=each.media_type)
            else:
                key = each.storage_key or ""
        except StorageError as error:
            log.warning("input_not_stored", key=key, reason=str(error))
            raise Unavailable(
                "The server cannot store the input right now; retry later.", code="storage_unavailable"
            ) from error
        return StoredMedia(
            role=each.role,
            storage_key=key or None,
            url=each.url,
            media_type=each.media_type,
            size=each.size,
            name=each.name,
        )

    async def _image_file(self, path: Path, size: int, role: MediaRole, param: str, name: str) -> Accepted:
        self._check_size(size, self._limits.image_bytes, param)
        facts = await self._probe(path, param)
        if facts.kind != "image":
            raise _not_an_image(param, facts.media_type)
        return _with_facts(Accepted(role, param, path=path, size=size, name=name), facts)

    async def _probe(self, path: Path, param: str) -> MediaFacts:
        try:
            return await self._media.probe(path)
        except MediaError as error:
            raise BadRequest(f"Invalid '{param}': {error}.", param=param, code="invalid_media") from error
        except OSError as error:
            raise Unavailable("The server cannot look at the file right now; retry later.") from error

    def _check_size(self, size: int, limit: int, param: str) -> None:
        if size > limit:
            raise PayloadTooLarge(
                f"'{param}' has {size} bytes, the limit is {limit}: send a smaller file.",
                param=param,
                code="file_too_large",
            )

    def _check_length(self, duration_ms: int, param: str) -> None:
        if duration_ms > self._limits.video_seconds * 1000:
            raise BadRequest(
                f"'{param}' is {duration_ms / 1000:.1f} s long, the limit is {self._limits.video_seconds} s.",
                param=param,
                code="video_too_long",
            )


def _write(data: bytes, folder: Path) -> Path:
    descriptor, path = tempfile.mkstemp(prefix="image-", dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return Path(path)


def _decode_data_url(url: str, param: str) -> bytes:
    head = _DATA_URL.match(url[:400])
    if head is None:
        raise BadRequest(
            f"'{param}' must read data:image/png;base64,... (or jpeg, webp), or be an http(s) URL.",
            param=param,
            code="invalid_url",
        )
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(
            f"'{param}' is not valid base64 after the comma.", param=param, code="invalid_base64"
        ) from error


def _with_facts(accepted: Accepted, facts: MediaFacts) -> Accepted:
    return Accepted(
        accepted.role,
        accepted.param,
        media_type=facts.media_type,
        size=accepted.size,
        name=accepted.name,
        path=accepted.path,
        width=facts.width,
        height=facts.height,
        duration_ms=facts.duration_ms,
    )


def _file_row(conn: Connection, project_id: str, file_id: str, now: int) -> Any:
    return conn.execute(
        select(files).where(
            files.c.id == file_id,
            files.c.project_id == project_id,
            files.c.deleted_at.is_(None),
            or_(files.c.expires_at.is_(None), files.c.expires_at > now),
        )
    ).first()


def _character_rows(conn: Connection, project_id: str, ids: list[str]) -> dict[str, Any]:
    rows = conn.execute(
        select(characters).where(characters.c.id.in_(ids), characters.c.project_id == project_id)
    )
    return {row.id: row for row in rows}


def _not_an_image(param: str, media_type: str) -> BadRequest:
    return BadRequest(
        f"'{param}' is {media_type}, not an image: send JPEG, PNG or WebP.", param=param, code="invalid_media"
    )


def _not_a_video(param: str, media_type: str) -> BadRequest:
    return BadRequest(
        f"'{param}' is {media_type}, not a video: send MP4, MOV or WebM.", param=param, code="invalid_media"
    )
