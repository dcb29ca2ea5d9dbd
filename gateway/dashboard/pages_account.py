"""/account: the own password and sessions. /switch: the project that is looked at."""

from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.keys.forms import parse
from gateway.members.forms import PasswordForm
from gateway.members.roles import WORDS
from gateway.members.service import MemberService
from gateway.members.sessions import Sessions, Visitor

AnyRequest = Request[Any, Any, Any]


class AccountPages(Controller):
    """What everybody may do for himself."""

    @get("/account")
    async def account(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show who is signed in, and where."""
        return pages.show(
            request,
            "account/account.html",
            sessions=await sessions.of(visitor.user_id),
            words=WORDS[visitor.role],
        )

    @post("/account/password", status_code=303)
    async def change_password(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        members: NamedDependency[MemberService],
        sessions: NamedDependency[Sessions],
    ) -> Response[None]:
        """Take a new password; every other session ends."""
        said = {name: form.text(name) or "" for name in ("old_password", "password")}
        await members.change_password(visitor, parse(PasswordForm, said))
        await sessions.close_others(visitor)
        return redirect("/account", done="Your password was changed, and every other session ended.")

    @post("/account/sessions/{session_id:str}/end", status_code=303)
    async def end_session(
        self,
        session_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        sessions: NamedDependency[Sessions],
    ) -> Response[None]:
        """End one of the own sessions."""
        await sessions.close(session_id, visitor.user_id)
        return redirect("/account", done="The session was ended.")

    @get("/switch")
    async def places(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List the projects there are to look at."""
        return pages.show(request, "account/switch.html", places=await sessions.places(visitor))

    @post("/switch", status_code=303)
    async def turn_to(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        sessions: NamedDependency[Sessions],
    ) -> Response[None]:
        """Look at another project from now on: the field `project_id`."""
        now = await sessions.turn_to(visitor, form.text("project_id") or "")
        return redirect("/", done=f"You look at {now.project_name} of {now.organization_name} now.")
