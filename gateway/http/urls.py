"""What no URL may contain."""

from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.errors import BadRequest


class WithoutNul:
    """ASGI middleware: 400 for a NUL in the path or the query, which PostgreSQL cannot even look up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise BadRequest("The URL contains a NUL character (%00). Leave it out.", code="invalid_url")
        await self._app(scope, receive, send)
