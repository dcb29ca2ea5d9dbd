"""Bearer keys: who calls, what the key may do, and how often."""

from collections.abc import Mapping
from typing import Any, Final, cast

import structlog
from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway import principal as principals
from gateway.audit.notes import serving
from gateway.errors import Unauthorized
from gateway.keys.limits import LimitKind, RequestLimits
from gateway.keys.service import KeyService
from gateway.principal import Principal

PUBLIC_PATHS: Final = (
    "/health/",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/v1/callbacks/",
    "/v1/billing/stripe/webhook",
)
_MISSING: Final = "You did not provide an API key. Send it as 'Authorization: Bearer <key>' (in the OpenAI SDK: api_key=...)."
_MALFORMED: Final = (
    "The Authorization header must read 'Bearer <key>', with one space and nothing after the key."
)


class Authentication:
    """ASGI middleware: sets `scope["user"]` to the Principal, or raises; counts the request against the key's limits.

    A handler with `opt={"limit": "create"}` counts as a create, every other as a read; `opt=requires(scope)`
    wants that scope; `opt={"public": True}` and PUBLIC_PATHS need no key.
    """

    def __init__(self, app: ASGIApp, keys: KeyService, limits: RequestLimits) -> None:
        self._app = app
        self._keys = keys
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        opt = scope["route_handler"].opt
        if scope["type"] != ScopeType.HTTP or _is_public(scope, opt):
            await self._app(scope, receive, send)
            return
        principal = await self._identify(scope)
        scope["user"] = principal
        serving(scope)
        scope["auth"] = principal.key_id
        structlog.contextvars.bind_contextvars(key_id=principal.key_id, project_id=principal.project_id)
        headers = await self._limits.check(principal, cast("LimitKind", opt.get("limit", "read")))
        if (required := opt.get("scope")) is not None:
            principal.require(required)
        await self._app(scope, receive, _with_headers(send, headers) if headers else send)

    async def _identify(self, scope: Scope) -> Principal:
        authorization = project = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"x-onereel-project":
                project = value
        principal = await self._keys.authenticate(bearer_token(authorization))
        if project:
            return await self._keys.acting_in(principal, project.decode("latin-1").strip())
        return principal


def requires(scope: principals.Scope) -> dict[str, principals.Scope]:
    """Make the `opt` of a handler or controller: 403 unless the caller's key has the scope.

    Not a Litestar guard: those copy the handler on every request, which costs a fifth of a status read.
    """
    return {"scope": scope}


def provide_principal(request: Request[Principal, Any, Any]) -> Principal:
    """Hand the authenticated caller to a handler: the dependency `principal`."""
    return request.user


def _is_public(scope: Scope, opt: Mapping[str, Any]) -> bool:
    return scope["path"].startswith(PUBLIC_PATHS) or bool(opt.get("public"))


def bearer_token(authorization: bytes | None) -> str:
    """Read the key of an Authorization header. Unauthorized names what is wrong with it."""
    if not authorization:
        raise Unauthorized(_MISSING, headers={"WWW-Authenticate": "Bearer"})
    scheme, _, token = authorization.decode("latin-1").strip().partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token.strip():
        raise Unauthorized(_MALFORMED, headers={"WWW-Authenticate": "Bearer"})
    return token.strip()


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *raw]
        await send(message)

    return send_with
