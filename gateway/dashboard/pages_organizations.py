"""/operator/organizations: who pays, on what terms."""

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.billing.forms import CreditForm, TermsForm
from gateway.billing.service import BillingService
from gateway.dashboard.dates import day_end
from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.http.auth import requires
from gateway.keys.forms import OrganizationForm, parse
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.members.sessions import Sessions, Visitor
from gateway.principal import Scope

AnyRequest = Request[Any, Any, Any]
_PLACE: Final = "/operator/organizations"
_PAGE: Final = 50


class OrganizationsPages(Controller):
    """Every organization of this installation."""

    path = _PLACE
    opt = requires(Scope.OPERATOR)

    @get()
    async def organizations_page(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
        billing: NamedDependency[BillingService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List them, the newest first."""
        after = request.query_params.get("after") or None
        found = await keys.list_organizations(visitor.principal, PageQuery(_PAGE, after, True))
        return pages.show(
            request,
            "operator/organizations.html",
            organizations=found.data,
            plans=[(plan["id"], plan["id"]) for plan in billing.plans()],
            older=f"{_PLACE}?after={found.data[-1]['id']}" if found.has_more else None,
        )

    @post(status_code=303)
    async def create(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
    ) -> Response[None]:
        """Make one, with a project in it."""
        made = await keys.create_organization(visitor.principal, parse(OrganizationForm, form.fields))
        return redirect(f"{_PLACE}/{made['id']}", done=f"'{made['name']}' is there. Set its terms.")

    @get("/{organization_id:str}")
    async def organization_page(
        self,
        *,
        request: AnyRequest,
        organization_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show one with its terms."""
        terms = await billing.terms(visitor.principal, organization_id)
        return pages.show(
            request,
            "operator/organization.html",
            terms=terms,
            plans=[(plan["id"], plan["id"]) for plan in billing.plans()],
            places=await sessions.places_of(visitor, organization_id),
        )

    @post("/{organization_id:str}", status_code=303)
    async def change(
        self,
        *,
        organization_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
        keys: NamedDependency[KeyService],
    ) -> Response[None]:
        """Change its terms; they hold within a second everywhere."""
        fields = {"margin": None, **form.fields, "suspended": form.flag("suspended")}
        try:
            await billing.change_terms(visitor.principal, organization_id, parse(TermsForm, fields))
        finally:
            keys.forget()
        return redirect(f"{_PLACE}/{organization_id}", done="The terms hold within a second.")

    @post("/{organization_id:str}/credit", status_code=303)
    async def credit(
        self,
        organization_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
    ) -> Response[None]:
        """Give it credit, for good or until a day."""
        fields = {**form.fields, "organization": organization_id}
        if expires := form.text("expires_at"):
            fields["expires_at"] = day_end(expires, "expires_at")
        made = await billing.give_credit(visitor.principal, parse(CreditForm, fields))
        return redirect(f"{_PLACE}/{organization_id}", done=f"{made['amount_usd']} USD of credit was given.")
