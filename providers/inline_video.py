"""Videos that lie as base64 inside a JSON answer of tens of megabytes: read as a stream, never held whole."""

import binascii
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final, cast

from providers.contract import Content, ErrorKind, ProviderError

LEFT_OUT: Final = "(left out)"
"""What `json_without_long_strings` puts in the place of a long string."""

_SPECIAL: Final = re.compile(rb'["\\]')
_ESCAPES: Final = {
    rb"\/": b"/",
    rb"\n": b"",
    rb"\r": b"",
    rb"\u003d": b"=",
    rb"\u002b": b"+",
    rb"\u002f": b"/",
}
_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|[^u])")
_LONGEST_ESCAPE: Final = 6
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_MAX_REST: Final = 1024 * 1024

_OUTSIDE: Final = "outside"
_BEGIN: Final = "begin"
_INSIDE: Final = "inside"
_END: Final = "end"


async def json_without_long_strings(content: Content, longest: int = 4096) -> Any:
    """Decode a JSON answer whose strings of more than `longest` bytes become `LEFT_OUT`.

    Raises ProviderError: PROVIDER_ERROR if it is not JSON or the rest is longer than 1 MiB.
    """
    kept = bytearray()
    string = bytearray()
    async for kind, data in _tokens(content):
        if kind == _OUTSIDE:
            kept += data
        elif kind == _BEGIN:
            string.clear()
        elif kind == _INSIDE and len(string) <= longest:
            string += data
        elif kind == _END:
            kept += b'"' + (LEFT_OUT.encode() if len(string) > longest else bytes(string)) + b'"'
        if len(kept) > _MAX_REST:
            raise ProviderError(ErrorKind.PROVIDER_ERROR, "the upstream's answer is too long")
    try:
        return json.loads(kept)
    except ValueError as error:
        raise ProviderError(
            ErrorKind.PROVIDER_ERROR, "the upstream's answer is not readable JSON", ambiguous=True
        ) from error


def base64_content(content: Content, key: str, media_type: str = "video/mp4") -> Content:
    """The file that the first string under `key`, anywhere in a JSON answer, holds as base64.

    Reading the chunks raises ProviderError: PROVIDER_ERROR where there is no such string or it is not base64,
    PROVIDER_UNAVAILABLE where the answer breaks off.
    """
    return Content(media_type, None, _decoded(_value(content, key.encode())))


async def _decoded(text: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    pending = b""
    try:
        async for part in text:
            pending += part
            slash = pending.rfind(b"\\")
            whole = slash if slash >= 0 and len(pending) - slash < _LONGEST_ESCAPE else len(pending)
            clear = _ESCAPE.sub(_unescaped, pending[:whole])
            ready = len(clear) - len(clear) % 4
            if ready:
                yield binascii.a2b_base64(clear[:ready].translate(_URL_SAFE), strict_mode=True)
            pending = clear[ready:] + pending[whole:]
        rest = _ESCAPE.sub(_unescaped, pending).translate(_URL_SAFE)
        if rest:
            yield binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ProviderError(
            ErrorKind.PROVIDER_ERROR, "the upstream's video is not readable base64"
        ) from error


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return _ESCAPES.get(escape[0].lower(), b"!")


async def _value(content: Content, key: bytes) -> AsyncIterator[bytes]:
    """The raw text of the first string value under a key."""
    last, between, wanted = b"", b"", False
    async for kind, data in _tokens(content):
        if kind == _OUTSIDE:
            between += data.strip()
        elif kind == _BEGIN:
            wanted = last == key and between == b":"
            last = between = b""
        elif kind == _INSIDE and wanted:
            yield data
        elif kind == _INSIDE:
            last = (last + data)[: len(key) + 1]
        elif wanted:
            return
    what = "the download broke off" if wanted else "the upstream completed without a video"
    raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE if wanted else ErrorKind.PROVIDER_ERROR, what)


async def _tokens(content: Content) -> AsyncIterator[tuple[str, bytes]]:
    """A JSON text in parts: what is outside strings, and strings from their begin to their end."""
    inside = escaped = False
    async with aclosing(cast("Any", content.chunks)) as chunks:
        async for chunk in chunks:
            start = 0
            while start < len(chunk):
                if escaped:
                    yield _INSIDE, chunk[start : start + 1]
                    start, escaped = start + 1, False
                    continue
                found = _SPECIAL.search(chunk, start)
                end = found.start() if found else len(chunk)
                if end > start:
                    yield (_INSIDE if inside else _OUTSIDE), chunk[start:end]
                start = end + 1
                if found and found[0] == b'"':
                    inside = not inside
                    yield (_BEGIN if inside else _END), b""
                elif found:
                    yield _INSIDE, b"\\"
                    escaped = True
