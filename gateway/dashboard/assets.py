"""/assets: our own static files, cached for good: their address changes with their content."""

from functools import cache
from typing import Final

from litestar import Response, get
from litestar.params import FromPath

from gateway.dashboard.page import STATIC
from gateway.errors import NotFound

_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@get("/assets/{name:str}", opt={"public": True}, include_in_schema=False, sync_to_thread=True)
def asset(name: FromPath[str]) -> Response[bytes]:
    """Send one file."""
    content = _files().get(name)
    if content is None:
        raise NotFound(f"There is no file '{name[:100]}'.", code="unknown_path")
    media_type = _TYPES[name.rpartition(".")[2]]
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=f"{media_type}; charset=utf-8", headers=headers)


@cache
def _files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix[1:] in _TYPES}
