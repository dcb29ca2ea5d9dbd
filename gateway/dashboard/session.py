"""Who looks at a page: the session's cookie, the pages it opens, and the check that a form is ours."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

import structlog
from litestar import Request
from litestar.datastructures import Cookie
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.audit.notes import serving
from gateway.errors import Forbidden, Unauthorized
from gateway.keys.limits import LimitKind, RequestLimits
from gateway.members.sessions import IDLE_MS, Client, Sessions, Visitor

__all__ = ["Session", "SignInNeeded", "Visitor", "client_of", "provide_visitor", "session_cookie"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NAME: Final = "onereel_session"


class SignInNeeded(Unauthorized):
    """The page is for people who are signed in."""

    default_code = "sign_in_needed"


class Session:
    """ASGI middleware of every page: sets `scope["visitor"]`, and `scope["user"]` to the caller it stands for.

    A handler with `opt={"open": True}` is for everybody; every other needs a session. `opt=requires(scope)` wants a role
    that has the scope, `opt={"limit": "create"}` counts as a create. What changes something must come from our own pages.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        limits: RequestLimits,
        *,
        public_url: str | None,
        secure: bool,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._limits = limits
        self._origin = _origin(public_url or "")
        self._cookie = _cookie_name(secure=secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = cast("dict[str, Any]", scope)
        opt, headers = scope["route_handler"].opt, _headers(scope)
        if state["method"] not in _SAFE:
            self._check_origin(headers)
        token = _token(headers, self._cookie)
        visitor = await self._sessions.visitor(token) if token else None
        state["visitor"] = visitor
        if visitor is not None:
            state["user"], state["auth"] = visitor.principal, visitor.user_id
            structlog.contextvars.bind_contextvars(key_id=visitor.user_id, project_id=visitor.project_id)
        serving(state)
        if not opt.get("open"):
            await self._admit(visitor, opt)
        await self._app(scope, receive, send)

    async def _admit(self, visitor: Visitor | None, opt: Mapping[str, Any]) -> None:
        if visitor is None:
            raise SignInNeeded("Sign in first.")
        if (required := opt.get("scope")) is not None and not visitor.may(required):
            raise Forbidden(
                f"Your role in {visitor.organization_name} ({visitor.role}) does not open this page.",
                code="missing_scope",
            )
        await self._limits.check(visitor.principal, cast("LimitKind", opt.get("limit", "read")))

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Forbidden for what another site made a browser send."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            ours = site in ("same-origin", "none")
        else:
            known = {headers.get("host", "").lower(), self._origin} - {""}
            ours = origin is None or _origin(origin) in known
        if not ours:
            raise Forbidden("This was sent from another site.", code="cross_site")


def provide_visitor(request: Request[Any, Any, Any]) -> Visitor | None:
    """Hand the signed-in person to a handler: the dependency `visitor`. None only on open pages."""
    return cast("Visitor | None", request.scope.get("visitor"))


def _cookie_name(*, secure: bool) -> str:
    """With HTTPS a name that only the site itself, by HTTPS, can set: no neighbour's cookie signs anybody in."""
    return f"__Host-{_NAME}" if secure else _NAME


def _token(headers: Mapping[str, str], name: str) -> str | None:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return None
    found = cookies.get(name)
    return found.value if found and 20 <= len(found.value) <= 100 else None


def session_cookie(token: str | None, *, secure: bool) -> Cookie:
    """Write the session's cookie, or end it."""
    return Cookie(
        key=_cookie_name(secure=secure),
        value=token or "",
        max_age=IDLE_MS // 1000 if token else 0,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def client_of(request: Request[Any, Any, Any]) -> Client:
    """Say where a request comes from."""
    host = request.client.host if request.client else None
    return Client(ip_address=host, user_agent=request.headers.get("user-agent"))


def sign_in_path(path: str, query: str) -> str:
    """Lead to the sign-in page, and back."""
    there = f"{path}?{query}" if query else path
    return "/login" if there == "/" else f"/login?next={quote(there, safe='/')}"


def local_path(text: str | None) -> str:
    """Where to go after signing in: a path of ours, whatever the text says."""
    if not text or not text.startswith("/") or text.startswith(("//", "/\\")) or "\\" in text:
        return "/"
    return text if all(" " < each < "\x7f" for each in text) else "/"


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _origin(url: str) -> str:
    return urlsplit(url).netloc.lower()
