"""/billing: what is paid by Stripe. Forms never lead to another site themselves: they answer a page that goes on there."""

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency

from gateway.billing.stripe import StripeService
from gateway.billing.stripe_forms import CheckoutForm, PortalForm, RechargeForm
from gateway.clock import Clock
from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.errors import ApiError, BadRequest
from gateway.http.auth import requires
from gateway.keys.forms import parse
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.settings import Settings

AnyRequest = Request[Any, Any, Any]
_WRITE: Final = requires(Scope.BILLING_WRITE)
_PAPERS: Final = 20


class BillingStripePages(Controller):
    """Paying, for the present organization."""

    path = "/billing"
    opt = requires(Scope.BILLING_READ)

    @post("/checkout", status_code=200, opt=_WRITE)
    async def checkout(
        self,
        *,
        request: AnyRequest,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        stripe: NamedDependency[StripeService],
        settings: NamedDependency[Settings],
        clock: NamedDependency[Clock],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Begin a top-up, and lead to the page where it is paid."""
        amount = form.text("amount_usd") or form.text("preset")
        if amount is None:
            raise BadRequest("Choose an amount.", param="amount_usd")
        back = f"{pages.base_url(request)}/billing"
        fields = {
            "amount_usd": amount,
            "save_card": form.flag("save_card"),
            "success_url": settings.stripe.success_url or f"{back}?paid={clock.now_ms() // 1000}",
            "cancel_url": settings.stripe.cancel_url or back,
        }
        made = await stripe.checkout(visitor.organization_id, parse(CheckoutForm, fields))
        return _onward(request, pages, made["url"], "Pay at Stripe")

    @post("/portal", status_code=200, opt=_WRITE)
    async def portal(
        self,
        *,
        request: AnyRequest,
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        stripe: NamedDependency[StripeService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Lead to the customer portal: cards, invoices, subscription."""
        back = PortalForm(return_url=f"{pages.base_url(request)}/billing")
        made = await stripe.portal(visitor.organization_id, back)
        return _onward(request, pages, made["url"], "Cards and invoices at Stripe")

    @post("/recharge", status_code=303, opt=_WRITE)
    async def set_recharge(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        stripe: NamedDependency[StripeService],
    ) -> Response[None]:
        """Switch automatic recharge on or off."""
        wanted = parse(RechargeForm, {**form.fields, "enabled": form.flag("enabled")})
        await stripe.set_recharge(visitor.organization_id, wanted)
        done = "Automatic recharge is on." if wanted.enabled else "Automatic recharge is off."
        return redirect("/billing", done=done)

    @post("/subscription", status_code=303, opt=_WRITE)
    async def subscribe(
        self,
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        stripe: NamedDependency[StripeService],
    ) -> Response[None]:
        """Start the subscription of a postpaid organization."""
        made = await stripe.subscribe(visitor.organization_id)
        return redirect("/billing", done=f"The subscription is {made['status']}.")

    @get("/papers")
    async def papers_page(
        self,
        request: AnyRequest,
        stripe: NamedDependency[StripeService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show where invoices and receipts are going to be: Stripe takes its time."""
        return pages.show(
            request, "billing/papers.html", loaded=False, configured=stripe.configured, tab="papers"
        )

    @get("/papers/list")
    async def papers_list(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        stripe: NamedDependency[StripeService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List invoices and receipts as Stripe has them."""
        invoices = receipts = None
        problem = None
        try:
            invoices = await stripe.invoices(visitor.organization_id, _PAPERS, None)
            receipts = await stripe.receipts(visitor.organization_id, _PAPERS, None)
        except ApiError as error:  # shown in place: the page itself is all right
            problem = error.message
        return pages.show(
            request,
            "billing/papers.html",
            loaded=True,
            configured=stripe.configured,
            problem=problem,
            invoices=invoices.data if invoices else [],
            receipts=receipts.data if receipts else [],
            more=bool((invoices and invoices.has_more) or (receipts and receipts.has_more)),
            tab="papers",
        )


def _onward(request: AnyRequest, pages: Pages, url: str, title: str) -> Response[str]:
    """Lead to another site by a page of ours: a form's own redirect may not leave it (form-action 'self')."""
    page = pages.show(request, "billing/onward.html", title=title, url=url)
    page.headers["Refresh"] = f"0; url={url}"
    return page
