"""The API reference: /openapi.json, and Swagger UI from the installed package, without a CDN or inline script."""

from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.params import FromPath

from gateway.errors import NotFound
from gateway.http.openapi import build_document, for_swagger_ui

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>onereel API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/docs/api/favicon-32x32.png"><link rel="stylesheet" href="/docs/api/swagger-ui.css">
</head><body><p><a href="/docs">onereel docs</a></p><div id="reference"></div>
<script src="/docs/api/swagger-ui-bundle.js"></script><script src="/docs/api/start.js"></script>
</body></html>
"""
_START: Final = """SwaggerUIBundle({
  url: "/docs/api/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


class Document:
    """The description of one application, written when first asked for."""

    def __init__(self) -> None:
        self._written: dict[str, bytes] = {}

    def write(self, request: Request[Any, Any, Any], *, for_ui: bool) -> bytes:
        """Give the document as JSON."""
        if not self._written:
            document = build_document(request.app)
            self._written["3.1"] = msgspec.json.encode(document)
            self._written["3.0"] = msgspec.json.encode(for_swagger_ui(document))
        return self._written["3.0" if for_ui else "3.1"]


_OPTIONS: Final[dict[str, Any]] = {"include_in_schema": False, "sync_to_thread": False}


def docs_handlers() -> list[Any]:
    """Make the handlers of one application."""
    document = Document()

    @get("/openapi.json", **_OPTIONS)
    def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
        return Response(document.write(request, for_ui=False), media_type=MediaType.JSON)

    @get("/docs/api", **_OPTIONS)
    def page() -> Response[str]:
        return Response(_PAGE, media_type=MediaType.HTML, headers={"Content-Security-Policy": _POLICY})

    @get("/docs/api/openapi.json", **_OPTIONS)
    def ui_json(request: Request[Any, Any, Any]) -> Response[bytes]:
        return Response(document.write(request, for_ui=True), media_type=MediaType.JSON)

    @get("/docs/api/start.js", **_OPTIONS)
    def start() -> Response[str]:
        return Response(_START, media_type="text/javascript")

    @get("/docs/api/{name:str}", include_in_schema=False, sync_to_thread=True)
    def asset(name: FromPath[str]) -> Response[bytes]:
        media_type = _ASSETS.get(name)
        if media_type is None:
            raise NotFound(f"There is no file '{name[:100]}' in the API reference.", code="unknown_path")
        return Response(_asset(name), media_type=media_type, headers={"Cache-Control": "max-age=86400"})

    return [openapi_json, page, ui_json, start, asset]


def _asset(name: str) -> bytes:
    from swagger_ui_bundle import swagger_ui_path  # noqa: PLC0415  (only who reads the reference needs it)

    return (Path(swagger_ui_path) / name).read_bytes()
