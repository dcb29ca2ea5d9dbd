"""Request bodies, JSON or multipart: fields in memory, file parts straight to disk, everything bounded."""

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from local_backend.errors import WorkerError, bad_value

_MAX_JSON_BYTES = 1024 * 1024
_MAX_FIELD_BYTES = 256 * 1024
_MAX_FILE_BYTES = 512 * 1024 * 1024
_MAX_PARTS = 64


@dataclass(slots=True)
class Form:
    """A read body. `files` are on disk under `folder`, which goes away with the request unless moved.

    A name that ends in [] may have several.
    """

    folder: Path
    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[Path]] = field(default_factory=dict)


@asynccontextmanager
async def read_form(
    headers: Mapping[str, str], body: AsyncIterator[bytes], uploads: Path
) -> AsyncIterator[Form]:
    """Read the body to its end. WorkerError 400, 413 or 415 for what cannot be read."""
    form = Form(uploads / uuid4().hex)
    form.folder.mkdir(parents=True)
    try:
        kind, options = parse_options_header(headers.get("content-type", ""))
        if kind == "application/json":
            await _read_json(form, body)
        elif kind == "multipart/form-data":
            await _read_parts(form, options.get("boundary", ""), body)
        else:
            message = "Content-Type must be application/json or multipart/form-data."
            raise WorkerError(415, message, code="unsupported_media_type")
        yield form
    finally:
        shutil.rmtree(form.folder, ignore_errors=True)


async def _read_json(form: Form, body: AsyncIterator[bytes]) -> None:
    data = bytearray()
    async for chunk in body:
        data += chunk
        if len(data) > _MAX_JSON_BYTES:
            raise _too_large("The JSON body", _MAX_JSON_BYTES)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise WorkerError(400, "The body is not valid JSON.", code="invalid_json") from None
    if not isinstance(value, dict):
        raise WorkerError(400, "The body must be a JSON object.", code="invalid_json")
    form.fields = value


async def _read_parts(form: Form, boundary: str, body: AsyncIterator[bytes]) -> None:
    parts = _Parts(form)
    try:
        with PushMultipartParser(boundary, max_segment_count=_MAX_PARTS, strict=True) as parser:
            async for chunk in body:
                for event in parser.parse(chunk) if chunk else ():
                    parts.feed(event)
    except MultipartError as error:
        message = f"The multipart body cannot be read: {error}."
        raise WorkerError(400, message, code="invalid_multipart") from None
    finally:
        parts.close()


class _Parts:
    """Takes the parser's events: a segment begins, bytes of it, None at its end."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._name = ""
        self._text: bytearray | None = None
        self._file: BinaryIO | None = None
        self._written = 0

    def feed(self, event: MultipartSegment | bytearray | bytes | None) -> None:
        if event is None:
            self._end()
        elif isinstance(event, MultipartSegment):
            self._begin(event)
        else:
            self._bytes(event)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, segment: MultipartSegment) -> None:
        self._name = segment.name or ""
        several = self._name.endswith("[]")
        if self._name in self._form.fields or (self._name in self._form.files and not several):
            raise bad_value(self._name, f"{self._name} is given twice.")
        if segment.filename is None:
            self._text = bytearray()
            return
        path = self._form.folder / str(sum(len(paths) for paths in self._form.files.values()))
        self._form.files.setdefault(self._name, []).append(path)
        self._written = 0
        self._file = path.open("wb")

    def _bytes(self, data: bytearray | bytes) -> None:
        if self._file is not None:
            self._written += len(data)
            if self._written > _MAX_FILE_BYTES:
                raise _too_large(self._name, _MAX_FILE_BYTES)
            self._file.write(data)
        elif self._text is not None:
            self._text += data
            if len(self._text) > _MAX_FIELD_BYTES:
                raise _too_large(self._name, _MAX_FIELD_BYTES)

    def _end(self) -> None:
        if self._text is not None:
            try:
                self._form.fields[self._name] = self._text.decode()
            except UnicodeDecodeError:
                raise bad_value(self._name, f"{self._name} is not UTF-8 text.") from None
        self._text = None
        self.close()


def _too_large(what: str, limit: int) -> WorkerError:
    return WorkerError(413, f"{what} may have at most {limit} bytes.", code="payload_too_large")
