"""/login/oidc: sign-in by a provider, where one is configured."""

from typing import Any, Final

from litestar import Controller, Request, Response, get
from litestar.datastructures import Cookie
from litestar.di import NamedDependency

from gateway.dashboard.page import Pages
from gateway.dashboard.pages_entrance import signed_in
from gateway.dashboard.session import local_path
from gateway.errors import NotFound
from gateway.members.oidc import FLOW_SECONDS, OidcMembers, OidcProvider
from gateway.members.sessions import Sessions

AnyRequest = Request[Any, Any, Any]
_COOKIE: Final = "onereel_oidc"
_BACK: Final = "/login/oidc/callback"


class OidcPages(Controller):
    """There, and back again."""

    path = "/login/oidc"
    opt = {"open": True}

    @get()
    async def leave(
        self, request: AnyRequest, oidc: NamedDependency[OidcProvider], pages: NamedDependency[Pages]
    ) -> Response[Any]:
        """Send the browser to the provider."""
        _check(oidc)
        goes_to = local_path(request.query_params.get("next"))
        begun = await oidc.begin(f"{pages.base_url(request)}{_BACK}", goes_to)
        answer: Response[Any] = Response(
            None, status_code=303, headers={"Location": begun.url, "Cache-Control": "no-store"}
        )
        answer.set_cookie(_cookie(begun.cookie, FLOW_SECONDS, secure=pages.secure))
        return answer

    @get("/callback")
    async def come_back(
        self,
        *,
        request: AnyRequest,
        oidc: NamedDependency[OidcProvider],
        oidc_members: NamedDependency[OidcMembers],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[Any]:
        """Let in whom the provider vouches for, and whom somebody invited."""
        _check(oidc)
        query = dict(request.query_params.items())
        identity, goes_to = await oidc.finish(
            request.cookies.get(_COOKIE), query, f"{pages.base_url(request)}{_BACK}"
        )
        user_id = await oidc_members.person(identity)
        answer = await signed_in(local_path(goes_to), user_id, request, sessions, pages)
        answer.set_cookie(_cookie("", 0, secure=pages.secure))
        return answer


def _check(oidc: OidcProvider) -> None:
    if oidc.name is None:
        raise NotFound("No sign-in provider is configured.", code="unknown_path")


def _cookie(value: str, seconds: int, *, secure: bool) -> Cookie:
    return Cookie(
        key=_COOKIE,
        value=value,
        max_age=seconds,
        path="/login/oidc",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
