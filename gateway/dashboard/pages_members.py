"""/members: who belongs to the organization, invitations, roles."""

from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.http.auth import requires
from gateway.keys.forms import parse
from gateway.members.forms import InvitationForm, RoleForm
from gateway.members.invitations import Invitations
from gateway.members.roles import WORDS, Role, may_manage
from gateway.members.service import MemberService
from gateway.members.sessions import Visitor
from gateway.principal import Scope

AnyRequest = Request[Any, Any, Any]


class MembersPages(Controller):
    """The people of the present organization."""

    path = "/members"
    opt = requires(Scope.ORGANIZATION)

    @get()
    async def members_page(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        members: NamedDependency[MemberService],
        invitations: NamedDependency[Invitations],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List members and open invitations."""
        return pages.show(
            request,
            "members/members.html",
            members=await members.list(visitor),
            invitations=await invitations.list(visitor),
            roles=[(str(role), str(role), WORDS[role]) for role in Role if may_manage(visitor.role, role)],
            manageable={str(role) for role in Role if may_manage(visitor.role, role)},
        )

    @post("/invitations", status_code=200)
    async def invite(
        self,
        request: AnyRequest,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        invitations: NamedDependency[Invitations],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Make an invitation and show its link this once."""
        wanted = parse(InvitationForm, form.fields)
        token = await invitations.invite(visitor, wanted)
        who = wanted.email or "whoever has the link"
        text = (
            f"Send this link to {who}. It makes a member with the role {wanted.role}, works once, for 7 days."
        )
        return _link(request, pages, "Invitation", token, text)

    @post("/invitations/{invitation_id:str}/revoke", status_code=303)
    async def revoke(
        self,
        invitation_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        invitations: NamedDependency[Invitations],
    ) -> Response[None]:
        """Make a link worthless."""
        await invitations.revoke(visitor, invitation_id)
        return redirect("/members", done="The link works no longer.")

    @post("/{user_id:str}/role", status_code=303)
    async def change_role(
        self,
        user_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        members: NamedDependency[MemberService],
    ) -> Response[None]:
        """Give a member another role."""
        await members.change_role(visitor, user_id, parse(RoleForm, form.fields))
        return redirect("/members", done="The role was changed. It holds from the next page on.")

    @post("/{user_id:str}/remove", status_code=303)
    async def remove(
        self,
        user_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        members: NamedDependency[MemberService],
    ) -> Response[None]:
        """Take a member out."""
        await members.remove(visitor, user_id)
        left = user_id == visitor.user_id
        return redirect("/switch" if left else "/members", done="The member was removed.")

    @post("/{user_id:str}/password", status_code=200)
    async def password_link(
        self,
        *,
        request: AnyRequest,
        user_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        invitations: NamedDependency[Invitations],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Make a link by which a member chooses a new password, and show it this once."""
        token = await invitations.password_link(visitor, user_id)
        text = "Send this link to the member: it takes a new password, works once, for 7 days, and ends all sessions."
        return _link(request, pages, "New password", token, text)

    @post("/{user_id:str}/operator", status_code=303, opt=requires(Scope.OPERATOR))
    async def make_operator(
        self,
        user_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        members: NamedDependency[MemberService],
    ) -> Response[None]:
        """Let a member run this installation, or no longer."""
        await members.make_operator(visitor, user_id, operator=form.flag("operator"))
        return redirect("/members", done="That was changed. It holds from the next page on.")


def _link(request: AnyRequest, pages: Pages, title: str, token: str, text: str) -> Response[str]:
    link = f"{pages.base_url(request)}/invitations/{token}"
    return pages.show(request, "members/link.html", title=title, link=link, text=text)
