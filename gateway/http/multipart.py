"""multipart/form-data as it arrives: text is held (bounded), files go to disk with their SHA-256, nothing is buffered."""

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from pydantic_core.core_schema import CoreSchema, is_instance_schema

from gateway.errors import BadRequest, PayloadTooLarge, Unavailable

_WRITE_BYTES: Final = 1024 * 1024  # hash and write off the event loop in steps of this size
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file part on our disk: length in bytes, SHA-256 in hex, the client's own name (never a path to use)."""

    path: Path
    size: int
    sha256: str
    filename: str

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        """Accept only what this module made: an object in JSON must never name a path on this machine."""
        return is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: Any) -> dict[str, Any]:
        """Describe the file part of a form."""
        return {"type": "string", "format": "binary"}


@dataclass(frozen=True, slots=True)
class FormLimits:
    """Bounds of one form: bytes of one file, bytes of all text together, number of files and of all parts."""

    file_bytes: int
    text_bytes: int
    files: int
    parts: int


class _FilePart:
    """One file on its way to disk."""

    def __init__(self, directory: Path, name: str, filename: str, limit: int) -> None:
        descriptor, path = tempfile.mkstemp(prefix="upload-", dir=directory)
        self.path = Path(path)
        self._out: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        self._name = name
        self._filename = _UNPRINTABLE.sub("", filename)[:255] or "upload"
        self._limit = limit
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._pending = bytearray()

    async def feed(self, data: bytes) -> None:
        """Take bytes; PayloadTooLarge as soon as the limit is passed."""
        self._size += len(data)
        if self._size > self._limit:
            raise PayloadTooLarge(
                f"The file '{self._name}' is larger than {self._limit} bytes.",
                param=self._name,
                code="file_too_large",
            )
        self._pending += data
        if len(self._pending) >= _WRITE_BYTES:
            await self._flush()

    async def finish(self) -> UploadedFile:
        """Write the rest and close."""
        await self._flush()
        self._out.close()
        return UploadedFile(self.path, self._size, self._sha256.hexdigest(), self._filename)

    def discard(self) -> None:
        """Close and remove; no error if the consumer took the file."""
        self._out.close()
        self.path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        data, self._pending = self._pending, bytearray()
        if data:
            await asyncio.to_thread(self._store, data)

    def _store(self, data: bytearray) -> None:
        self._sha256.update(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]


class FormReader:
    """Parses one form. `items` are (name, text or UploadedFile) in wire order; call `discard` in every case."""

    def __init__(self, boundary: str, directory: Path, limits: FormLimits) -> None:
        self.items: list[tuple[str, Any]] = []
        self._boundary = boundary
        self._directory = directory
        self._limits = limits
        self._text_bytes = 0
        self._files: list[_FilePart] = []

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        """Consume the body. BadRequest for a malformed form, PayloadTooLarge past a limit."""
        try:
            with PushMultipartParser(self._boundary, max_segment_count=self._limits.parts) as parser:
                await self._parse(parser, chunks)
        except ParserLimitReached as error:
            raise self._limit_error(error) from error
        except MultipartError as error:
            raise BadRequest(
                f"The multipart/form-data body is malformed: {error.args[0]}.", code="invalid_multipart"
            ) from error
        except OSError as error:
            raise Unavailable(
                "The server cannot store the upload right now.", code="upload_failed"
            ) from error

    def discard(self) -> None:
        """Remove every temporary file that is still there."""
        for part in self._files:
            part.discard()

    async def _parse(self, parser: PushMultipartParser, chunks: AsyncIterator[bytes]) -> None:
        text = bytearray()
        segment: MultipartSegment | None = None
        file: _FilePart | None = None
        async for chunk in chunks:
            for event in parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    segment, file, text = event, self._open(event), bytearray()
                elif event is None:
                    # The parser's grammar: a part always starts before it ends.
                    await self._close(cast("MultipartSegment", segment), file, text)
                elif file is not None:
                    await file.feed(event)
                else:
                    text += self._count_text(event)

    def _open(self, segment: MultipartSegment) -> _FilePart | None:
        name = segment.name or ""
        if not name:
            raise BadRequest("A part of the form has no name.", code="invalid_multipart")
        if not segment.filename:
            return None
        if len(self._files) >= self._limits.files:
            raise BadRequest(
                f"The form has more than {self._limits.files} files.", param=name[:200], code="too_many_files"
            )
        file = _FilePart(self._directory, name, segment.filename, self._limits.file_bytes)
        self._files.append(file)
        return file

    async def _close(self, segment: MultipartSegment, file: _FilePart | None, text: bytearray) -> None:
        name = cast("str", segment.name)
        if file is not None:
            self.items.append((name, await file.finish()))
            return
        try:
            value = text.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"The field '{name}' is not UTF-8 text.", param=name, code="invalid_encoding"
            ) from error
        # Node turns \n into \r\n on the way into a form.
        self.items.append((name, value.replace("\r\n", "\n")))

    def _count_text(self, data: bytes) -> bytes:
        self._text_bytes += len(data)
        if self._text_bytes > self._limits.text_bytes:
            raise PayloadTooLarge(
                f"The text fields are larger than {self._limits.text_bytes} bytes in all: upload media as a file part."
            )
        return data

    def _limit_error(self, error: ParserLimitReached) -> BadRequest:
        if "count" in str(error) and "header" not in str(error):
            return BadRequest(
                f"The form has more than {self._limits.parts} fields: send fewer, or JSON.",
                code="too_many_fields",
            )
        return BadRequest(
            f"The multipart/form-data body is malformed: {error.args[0]}.", code="invalid_multipart"
        )
