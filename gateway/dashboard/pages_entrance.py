"""/login, /logout and /invitations/{token}: the ways in and out."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter

from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.dashboard.session import client_of, local_path, session_cookie
from gateway.errors import BadRequest
from gateway.keys.forms import parse
from gateway.members.forms import AccountForm, NewPasswordForm, SignInForm
from gateway.members.invitations import Invitations
from gateway.members.oidc import OidcProvider
from gateway.members.roles import WORDS
from gateway.members.service import MemberService
from gateway.members.sessions import Sessions, Visitor
from gateway.settings import Settings

AnyRequest = Request[Any, Any, Any]
Token = Annotated[str, PathParameter(max_length=500)]
_ENDED = "You are signed out."


class EntrancePages(Controller):
    """Pages for people who are not in yet."""

    opt = {"open": True}

    @get("/login")
    async def login(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor | None],
        invitations: NamedDependency[Invitations],
        oidc: NamedDependency[OidcProvider],
        pages: NamedDependency[Pages],
    ) -> Response[Any]:
        """Ask who it is. Before there is any account, say how to make the first."""
        goes_to = local_path(request.query_params.get("next"))
        if visitor is not None:
            return redirect(goes_to)
        if await invitations.first_visit() is not None:
            return pages.show(request, "entrance/first.html")
        return pages.show(request, "entrance/login.html", goes_to=goes_to, elsewhere=oidc.name)

    @post("/login", status_code=303)
    async def sign_in(
        self,
        request: AnyRequest,
        form: NamedDependency[Form],
        members: NamedDependency[MemberService],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[Any]:
        """Check who it is."""
        goes_to = local_path(form.text("next"))
        said = {name: form.text(name) or "" for name in ("email", "password")}
        client = client_of(request)
        user_id = await members.sign_in(parse(SignInForm, said), client)
        return await signed_in(goes_to, user_id, request, sessions, pages)

    @post("/logout", status_code=303)
    async def sign_out(
        self,
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor | None],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[Any]:
        """End the session."""
        if visitor is not None:
            await sessions.close(visitor.session_id, visitor.user_id)
        answer = redirect("/login", done=_ENDED)
        answer.set_cookie(session_cookie(None, secure=pages.secure))
        return answer

    @get("/invitations/{token:str}")
    async def invitation(
        self,
        request: AnyRequest,
        token: Token,
        invitations: NamedDependency[Invitations],
        pages: NamedDependency[Pages],
        settings: NamedDependency[Settings],
    ) -> Response[Any]:
        """Show what a link leads to."""
        found = await invitations.find(token)
        words = WORDS[found.role]
        return pages.show(
            request,
            "entrance/invitation.html",
            invitation=found,
            token=token,
            words=words,
            public_url=settings.public_url,
        )

    @post("/invitations/{token:str}", status_code=303)
    async def accept(
        self,
        *,
        request: AnyRequest,
        token: Token,
        form: NamedDependency[Form],
        invitations: NamedDependency[Invitations],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[Any]:
        """Make the account, or take the new password, and sign in."""
        found = await invitations.find(token)
        if form.text("password") != form.text("password_again"):
            raise BadRequest("The two passwords differ.", param="password_again")
        password = form.text("password") or ""
        if found.kind == "password":
            chosen = parse(NewPasswordForm, {"password": password})
            user_id = await invitations.choose_password(token, chosen.password)
        else:
            said = {name: form.text(name) or "" for name in ("name", "email")}
            user_id = await invitations.create_account(
                token, parse(AccountForm, {**said, "password": password})
            )
        return await signed_in("/", user_id, request, sessions, pages)

    @post("/invitations/{token:str}/join", status_code=303, opt={"open": False})
    async def join(
        self,
        token: Token,
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        invitations: NamedDependency[Invitations],
    ) -> Response[Any]:
        """Make the signed-in person a member."""
        found = await invitations.find(token)
        await invitations.join(token, visitor)
        return redirect(
            "/switch", done=f"You belong to {found.organization_name} now. Choose a project of it."
        )


async def signed_in(
    goes_to: str, user_id: str, request: AnyRequest, sessions: Sessions, pages: Pages
) -> Response[Any]:
    """Open a session and lead on."""
    token = await sessions.open(user_id, client_of(request))
    answer = redirect(goes_to)
    answer.set_cookie(session_cookie(token, secure=pages.secure))
    return answer
