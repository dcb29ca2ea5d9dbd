"""/billing/operator: the operator's hand on the money of the present organization."""

from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency

from gateway.billing.forms import AdjustmentForm, CreditForm, RefundForm
from gateway.billing.service import BillingService
from gateway.dashboard.dates import day_end
from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.http.auth import requires
from gateway.keys.forms import parse
from gateway.members.sessions import Visitor
from gateway.principal import Scope

AnyRequest = Request[Any, Any, Any]


class BillingOperatorPages(Controller):
    """Credit, corrections and refunds; each with its reason."""

    path = "/billing/operator"
    opt = requires(Scope.OPERATOR)

    @get()
    async def operator_page(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show what an operator can do."""
        balance = await billing.balance(visitor.principal)
        return pages.show(request, "billing/operator.html", balance=balance, tab="operator")

    @post("/credit", status_code=303)
    async def give(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
    ) -> Response[None]:
        """Give credit, for good or until a day."""
        fields = dict(form.fields)
        if expires := form.text("expires_at"):
            fields["expires_at"] = day_end(expires, "expires_at")
        made = await billing.give_credit(visitor.principal, parse(CreditForm, fields))
        return redirect("/billing/operator", done=f"{made['amount_usd']} USD of credit was given.")

    @post("/adjust", status_code=303)
    async def correct(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
    ) -> Response[None]:
        """Correct paid credit, up or down."""
        balance = await billing.correct(visitor.principal, parse(AdjustmentForm, form.fields))
        return redirect("/billing/operator", done=f"Corrected. {balance['available']} USD are available now.")

    @post("/refund", status_code=303)
    async def refund(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
    ) -> Response[None]:
        """Give back what a video was charged, or a part of it."""
        made = await billing.refund(visitor.principal, parse(RefundForm, form.fields))
        return redirect("/billing/operator", done=f"{made['amount_usd']} USD were given back.")
