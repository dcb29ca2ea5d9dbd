"""/budgets: what may be spent in a day or month, and what is used of it."""

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.billing.forms import BudgetChanges, BudgetForm
from gateway.billing.service import BillingService
from gateway.dashboard.form import Form
from gateway.dashboard.names import Names
from gateway.dashboard.page import Pages, redirect
from gateway.http.auth import requires
from gateway.keys.forms import parse
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.members.service import MemberService
from gateway.members.sessions import Sessions, Visitor
from gateway.principal import Scope

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
_PAGE: Final = 50
_WRITES: Final = requires(Scope.BILLING_WRITE)


class BudgetsPages(Controller):
    """Budgets of the organization."""

    path = "/budgets"
    opt = requires(Scope.BILLING_READ)

    @get()
    async def budgets(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
        keys: NamedDependency[KeyService],
        members: NamedDependency[MemberService],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List them, newest first."""
        after = request.query_params.get("after")
        found = await billing.list_budgets(visitor.principal, PageQuery(_PAGE, after, True))
        projects = {
            place["project_id"]: place["project_name"]
            for place in await sessions.places(visitor)
            if place["organization_id"] == visitor.organization_id
        }
        names = await Names(keys, members, visitor).of(each["scope_id"] for each in found.data)
        return pages.show(
            request,
            "budgets/budgets.html",
            budgets=[{**each, "label": _label(each, names)} for each in found.data],
            older=f"/budgets?after={found.data[-1]['id']}" if found.has_more else None,
            writes=visitor.may(Scope.BILLING_WRITE),
            projects=sorted(projects.items(), key=lambda each: each[1]),
        )

    @post(status_code=303, opt=_WRITES)
    async def create(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
    ) -> Response[None]:
        """Set a new budget."""
        fields = dict(form.fields)
        scope = fields.get("scope")
        if scope == "project":
            fields["scope_id"] = fields.get("project_id", visitor.project_id)
        elif scope == "organization":
            fields.pop("scope_id", None)
        fields.pop("project_id", None)
        await billing.create_budget(
            visitor.principal, parse(BudgetForm, {**fields, "hard": form.flag("hard")})
        )
        return redirect("/budgets", done="The budget holds from now on.")

    @post("/{budget_id:str}", status_code=303, opt=_WRITES)
    async def change(
        self,
        budget_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
    ) -> Response[None]:
        """Change how much, and whether more is refused."""
        changes = parse(BudgetChanges, {**form.fields, "hard": form.flag("hard")})
        await billing.change_budget(visitor.principal, budget_id, changes)
        return redirect("/budgets", done="The budget was changed.")

    @post("/{budget_id:str}/delete", status_code=303, opt=_WRITES)
    async def delete(
        self,
        budget_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
    ) -> Response[None]:
        """Take a budget out of force."""
        await billing.delete_budget(visitor.principal, budget_id)
        return redirect("/budgets", done="The budget is out of force.")


def _label(budget: Json, names: dict[str, str]) -> str:
    if budget["scope"] == "organization":
        return "The organization"
    return f"{budget['scope'].capitalize()} {names.get(budget['scope_id'], budget['scope_id'])}"
