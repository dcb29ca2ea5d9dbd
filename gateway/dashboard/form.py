"""What a page's form says: urlencoded or multipart, nested as the API's bodies, and proven to be ours."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Request
from litestar.di import NamedDependency

from gateway.errors import BadRequest, Forbidden
from gateway.http.body import UploadedFile, read_body, read_raw
from gateway.http.brackets import nest
from gateway.members.sessions import Visitor
from gateway.settings import Settings

AnyRequest = Request[Any, Any, Any]
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_BYTES: Final = 1024 * 1024
_MOST_FIELDS: Final = 1000
_CSRF: Final = "csrf"


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one form; blank texts and empty file parts are left out. Lists are named with brackets: `scopes[]`."""

    fields: dict[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """Read one text."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> list[str]:
        """Read a list of texts: the fields named `name[]`."""
        value = self.fields.get(name, [])
        return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]

    def flag(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.text(name) == "true"


async def provide_form(
    request: AnyRequest,
    visitor: NamedDependency[Visitor | None],
    settings: NamedDependency[Settings],
    upload_dir: NamedDependency[Path],
) -> AsyncIterator[Form]:
    """Read the form of a POST: the dependency `form`. Forbidden without the session's token.

    Files live until the handler has answered.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    async with AsyncExitStack() as stack:
        if media_type == _FORM:
            raw = await read_raw(request, _MOST_BYTES, settings.limits.body_seconds)
            fields = _urlencoded(raw, settings.limits.bracket_depth)
        elif media_type == "multipart/form-data":
            body = await stack.enter_async_context(read_body(request, settings.limits, upload_dir))
            fields = body.fields
        else:
            raise BadRequest("Send the form as the page does.", code="unsupported_content_type")
        token = fields.pop(_CSRF, "")
        if visitor is not None and not (
            isinstance(token, str) and compare_digest(token.encode(), visitor.csrf.encode())
        ):
            raise Forbidden("This page is out of date: reload it, then send again.", code="csrf")
        yield Form(_filled(fields))


def _urlencoded(raw: bytes, depth: int) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise BadRequest("The form cannot be read: it is no UTF-8 text, or has too many fields.") from error
    if any("\0" in text for pair in pairs for text in pair):
        raise BadRequest("The form contains a NUL character.")
    return nest([pair for pair in pairs if pair[1]], max_depth=depth)


def _filled(value: Any) -> Any:
    """Leave out what was left empty."""
    if isinstance(value, dict):
        filled = {name: _filled(each) for name, each in value.items()}
        return {name: each for name, each in filled.items() if not _is_empty(each)}
    if isinstance(value, list):
        return [each for each in map(_filled, value) if not _is_empty(each)]
    if isinstance(value, str):
        return value.replace("\r\n", "\n")
    return value


def _is_empty(value: Any) -> bool:
    if isinstance(value, UploadedFile):
        return value.size == 0
    return value in ("", {}, [])
