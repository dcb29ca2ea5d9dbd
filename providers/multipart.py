"""multipart/form-data written as a stream: files pass through, nothing is held in memory."""

import mimetypes
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from providers.contract import ErrorKind, MediaInput, ProviderError

FormField = tuple[str, str | MediaInput]

_ESCAPES: Final = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class MultipartBody:
    """One form, to be iterated once. `length` in bytes is known before the first file is opened.

    `handed_over` turns true just before the closing boundary is given out: until then the upstream cannot
    have seen a complete request. `error` keeps what went wrong while reading an input file.
    """

    def __init__(self, fields: Sequence[FormField]) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.handed_over = False
        self.error: Exception | None = None
        self._parts = [(_head(boundary, name, value), value) for name, value in fields]
        self._end = f"--{boundary}--\r\n".encode()
        self.length = len(self._end) + sum(len(head) + _size(value) + 2 for head, value in self._parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pending = bytearray()
        for head, value in self._parts:
            pending += head
            if isinstance(value, str):
                pending += value.encode() + b"\r\n"
                continue
            yield bytes(pending)
            pending = bytearray(b"\r\n")
            async for chunk in self._file(value):
                yield chunk
        self.handed_over = True
        yield bytes(pending + self._end)

    def verdict(self, error: ProviderError) -> ProviderError:
        """What is certain about a failed send: an incomplete form cannot have started anything."""
        if self.handed_over:
            return error
        if isinstance(self.error, ProviderError):
            return self.error
        if self.error is not None:
            return ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "an input file could not be read")
        return ProviderError(error.kind, error.message)

    async def _file(self, media: MediaInput) -> AsyncIterator[bytes]:
        sent = 0
        try:
            async for chunk in media.open():
                sent += len(chunk)
                if sent > media.size:
                    break
                yield chunk
        except Exception as error:
            self.error = error
            raise
        if sent != media.size:
            self.error = ProviderError(
                ErrorKind.INPUT_MEDIA,
                f"the {media.role.value} file is not the {media.size} bytes long that were announced",
            )
            raise self.error


def bracketed(name: str, value: Any) -> list[FormField]:
    """JSON as form fields: a[b] for objects, a[] for lists, "true"/"false"; null is left out."""
    if isinstance(value, Mapping):
        return [part for key, inner in value.items() for part in bracketed(f"{name}[{key}]", inner)]
    if isinstance(value, list | tuple):
        return [part for inner in value for part in bracketed(f"{name}[]", inner)]
    if isinstance(value, bool):
        return [(name, "true" if value else "false")]
    return [] if value is None else [(name, str(value))]


def _head(boundary: str, name: str, value: str | MediaInput) -> bytes:
    lines = f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(_ESCAPES)}"'
    if not isinstance(value, str):
        lines += f'; filename="{_filename(value).translate(_ESCAPES)}"\r\nContent-Type: {value.media_type}'
    return f"{lines}\r\n\r\n".encode()


def _filename(media: MediaInput) -> str:
    return media.role.value + (mimetypes.guess_extension(media.media_type) or "")


def _size(value: str | MediaInput) -> int:
    return len(value.encode()) if isinstance(value, str) else value.size
