"""The body of any POST, JSON or multipart/form-data alike, as one nested object with a canonical hash."""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from multipart import parse_options_header

from gateway.errors import BadRequest, PayloadTooLarge, RequestTimeout
from gateway.http.brackets import nest
from gateway.http.multipart import FormLimits, FormReader, UploadedFile
from gateway.settings import Limits

__all__ = ["Body", "ClientGone", "UploadedFile", "read_body", "read_raw"]

_JSON_DEPTH: Final = 32
_JSON_COMMAS: Final = 200_000  # bounds the time that checking the values can take
_MAX_FILES: Final = 10
_BYTES_PER_SECOND: Final = 1024
_ACCEPTED: Final = "Send application/json or multipart/form-data."
_POSITION: Final = re.compile(r"\(byte (\d+)\)")
_BOUNDARY: Final = re.compile(r"[ -~]{1,200}")


class ClientGone(HTTPException):
    """The client hung up before its body was complete; nobody reads the answer."""

    status_code = 400
    detail = "The client disconnected before the request was complete."


@dataclass(frozen=True)
class Body:
    """What the client sent. `fields` are JSON values; file parts are `UploadedFile` in their place.

    Form values are text: "8" where JSON would have 8; the schema of the route casts them.
    """

    fields: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) that is the same for JSON and form, any key order, boundary and line ending."""
        text = json.dumps(_canonical(self.fields), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@asynccontextmanager
async def read_body(
    request: Request[Any, Any, Any],
    limits: Limits,
    upload_dir: Path,
    *,
    file_bytes: int | None = None,
    max_files: int = _MAX_FILES,
) -> AsyncIterator[Body]:
    """Read the whole body; temporary files live until the block ends, unless the consumer moved them.

    `file_bytes` bounds one file part (default `limits.file_bytes`). Raises BadRequest and PayloadTooLarge.
    """
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    _check_encoding(request)
    if media_type == "multipart/form-data":
        form = FormLimits(file_bytes or limits.file_bytes, limits.json_bytes, max_files, limits.form_fields)
        depth, seconds, boundary = limits.bracket_depth, limits.body_seconds, options.get("boundary", "")
        async with _form(request, boundary, form, upload_dir, depth=depth, seconds=seconds) as fields:
            yield Body(fields)
        return
    raw = await read_raw(request, limits.json_bytes, limits.body_seconds)
    if media_type == "" and raw:
        raise _unsupported("The body has no Content-Type.")
    if media_type not in ("", "application/json") and not media_type.endswith("+json"):
        raise _unsupported(f"The Content-Type '{media_type[:100]}' is not supported.")
    yield Body(decode_json(raw) if raw.strip() else {})


def decode_json(raw: bytes) -> dict[str, Any]:
    """Decode one object. BadRequest tells where broken JSON breaks; NaN, Infinity and NUL are refused."""
    if raw.count(b",") > _JSON_COMMAS:
        raise BadRequest("The JSON has too many values.", code="too_many_fields")
    try:
        value = msgspec.json.decode(raw)
        _check_json(value)
        if raw.count(b":") != _colons(value) or b"\\u003" in raw:
            json.loads(raw, object_pairs_hook=_refuse_twice)
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8 text.", code="invalid_json") from error
    except msgspec.DecodeError as error:
        raise BadRequest(_json_message(raw, str(error)), code="invalid_json") from error
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object: {...}.", code="invalid_json")
    return value


@asynccontextmanager
async def _form(
    request: Request[Any, Any, Any],
    boundary: str,
    form: FormLimits,
    upload_dir: Path,
    *,
    depth: int,
    seconds: float,
) -> AsyncIterator[dict[str, Any]]:
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest(
            "The Content-Type multipart/form-data needs a boundary of 1 to 200 characters: let your HTTP library set it.",
            code="missing_boundary",
        )
    total = form.text_bytes + form.files * form.file_bytes
    reader = FormReader(boundary, upload_dir, form)
    try:
        await reader.read(_chunks(request, total, seconds))
        fields = nest(reader.items, max_depth=depth)
        _check_json(fields)
        yield fields
    finally:
        reader.discard()


async def read_raw(request: Request[Any, Any, Any], limit: int, seconds: float) -> bytes:
    """Read the body as it came. PayloadTooLarge beyond `limit` bytes; `seconds` as `Limits.body_seconds`."""
    return b"".join([chunk async for chunk in _chunks(request, limit, seconds)])


async def _chunks(request: Request[Any, Any, Any], limit: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield at most `limit` bytes of raw body: the announced length is checked before anything is read.

    RequestTimeout after a pause of `seconds`, and where after such a time fewer than `_BYTES_PER_SECOND` came.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    seen, more, now = 0, True, asyncio.get_running_loop().time
    began = now()
    while more:
        try:
            async with asyncio.timeout_at(min(now(), began + seen / _BYTES_PER_SECOND) + seconds):
                event = cast("dict[str, Any]", await request.receive())
        except TimeoutError:
            raise RequestTimeout("The request's body came too slowly, or not to its end.") from None
        if event["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = event.get("body", b"")
        more = event.get("more_body", False)
        seen += len(chunk)
        if seen > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk


def _check_encoding(request: Request[Any, Any, Any]) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise BadRequest(
            f"The Content-Encoding '{encoding[:50]}' is not supported: send the body uncompressed.",
            code="unsupported_content_encoding",
        )


def _check_json(value: Any, depth: int = 0, param: str | None = None) -> None:
    """BadRequest for what no database or upstream could take: NUL characters, endless nesting."""
    if depth > _JSON_DEPTH:
        raise _too_deep()
    if isinstance(value, str):
        if "\0" in value:
            raise BadRequest(
                f"The field '{param}' contains a NUL character.", param=param, code="invalid_value"
            )
    elif isinstance(value, dict):
        for key, child in value.items():
            _check_json(key, depth, param or "name")
            _check_json(child, depth + 1, param or key)
    elif isinstance(value, list):
        for child in value:
            _check_json(child, depth + 1, param)


def _colons(value: Any) -> int:
    """Count the colons that it takes to write a value: one for each name, and those in its texts. An object that says
    something twice was written with more."""
    if isinstance(value, str):
        return value.count(":")
    if isinstance(value, dict):
        return sum(1 + name.count(":") + _colons(each) for name, each in value.items())
    return sum(map(_colons, value)) if isinstance(value, list) else 0


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """BadRequest for what an object says twice: which of them counts is not for us to guess."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise BadRequest(
                f"The field '{name[:200]}' is there twice.", param=name[:200], code="duplicate_field"
            )
        seen.add(name)


def _json_message(raw: bytes, reason: str) -> str:
    match = _POSITION.search(reason)
    if match is None:
        where = (
            "it ends too early, or inside a \\u pair"
            if "truncated" in reason
            else reason.partition(" - ")[0].lower()
        )
        return f"The body is not valid JSON: {where} ({len(raw)} bytes read)."
    position = int(match[1])
    line = raw.count(b"\n", 0, position) + 1
    what = _POSITION.sub("", reason).removeprefix("JSON is malformed: ").strip()
    return f"The body is not valid JSON: {what} at byte {position}, line {line}."


def _canonical(value: Any) -> Any:
    """Scalars as the text a form would carry; a null is as good as absent."""
    if isinstance(value, dict):
        return {key: _canonical(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_canonical(child) for child in value]
    if isinstance(value, UploadedFile):
        return {"sha256": value.sha256}
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("\r\n", "\n")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _unsupported(what: str) -> BadRequest:
    return BadRequest(f"{what} {_ACCEPTED}", code="unsupported_content_type")


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than the {limit} bytes this route takes.")


def _too_deep() -> BadRequest:
    return BadRequest(f"The JSON is nested more than {_JSON_DEPTH} levels deep.", code="too_deep")
