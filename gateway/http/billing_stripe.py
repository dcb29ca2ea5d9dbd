"""/v1/billing/checkout, portal, invoices, receipts, recharge, subscription; Stripe's webhook."""

from typing import Any, Final

from litestar import Controller, Request, get, post
from litestar.di import NamedDependency

from gateway.billing import stripe_forms as forms
from gateway.billing.stripe import StripeService
from gateway.errors import BadRequest
from gateway.http.accept import ACCEPT, Accept
from gateway.http.auth import requires
from gateway.http.body import read_raw
from gateway.http.openapi import documented
from gateway.http.pagination import PAGE, PageRequest, listed
from gateway.principal import Principal, Scope
from gateway.settings import Settings

Json = dict[str, Any]
AnyRequest = Request[Any, Any, Any]

_EVENT_BYTES: Final = 1024 * 1024
_READ: Final = requires(Scope.BILLING_READ)
_WRITE: Final = requires(Scope.BILLING_WRITE)


def _newest_first(page: PageRequest) -> PageRequest:
    if not page.descending:
        raise BadRequest("This list is always newest first: leave 'order' out.", param="order")
    return page


class StripeController(Controller):
    """What an organization pays and how, collected by Stripe."""

    path = "/v1/billing"
    tags = ["billing"]
    dependencies = {**PAGE, **ACCEPT}

    @post(
        "/checkout",
        status_code=200,
        opt=_WRITE,
        operation_class=documented(body=forms.CheckoutForm, answer=forms.Checkout),
        summary="Top up by Stripe Checkout",
    )
    async def checkout(
        self,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Answer the page where the top-up is paid. The balance grows when Stripe reports the payment."""
        organization = principal.organization_id
        return await accept(
            forms.CheckoutForm, lambda form, claim: stripe.checkout(organization, form, claim)
        )

    @post(
        "/portal",
        status_code=200,
        opt=_WRITE,
        operation_class=documented(body=forms.PortalForm, answer=forms.Portal),
        summary="Open the customer portal",
    )
    async def portal(
        self,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Answer a link to Stripe's portal, good for a short time: cards, invoices, subscription."""
        organization = principal.organization_id
        return await accept(forms.PortalForm, lambda form, claim: stripe.portal(organization, form, claim))

    @get(
        "/invoices",
        opt=_READ,
        operation_class=documented(answer=forms.InvoiceList),
        summary="List invoices",
    )
    async def invoices(
        self,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        page: NamedDependency[PageRequest],
    ) -> Json:
        """List the invoices of postpaid usage, newest first."""
        wanted = _newest_first(page)
        return listed(await stripe.invoices(principal.organization_id, wanted.limit, wanted.after))

    @get(
        "/receipts",
        opt=_READ,
        operation_class=documented(answer=forms.ReceiptList),
        summary="List receipts",
    )
    async def receipts(
        self,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        page: NamedDependency[PageRequest],
    ) -> Json:
        """List payments with their receipts, newest first."""
        wanted = _newest_first(page)
        return listed(await stripe.receipts(principal.organization_id, wanted.limit, wanted.after))

    @get(
        "/recharge",
        opt=_READ,
        operation_class=documented(answer=forms.Recharge),
        summary="Retrieve automatic recharge",
    )
    async def recharge(
        self, principal: NamedDependency[Principal], stripe: NamedDependency[StripeService]
    ) -> Json:
        """Show automatic recharge, and why the last one failed."""
        return await stripe.recharge(principal.organization_id)

    @post(
        "/recharge",
        status_code=200,
        opt=_WRITE,
        operation_class=documented(body=forms.RechargeForm, answer=forms.Recharge),
        summary="Set automatic recharge",
    )
    async def set_recharge(
        self,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Charge the saved card when the credit falls below the threshold; needs a saved card."""
        organization = principal.organization_id
        return await accept(
            forms.RechargeForm, lambda form, claim: stripe.set_recharge(organization, form, claim)
        )

    @post(
        "/subscription",
        status_code=200,
        opt=_WRITE,
        operation_class=documented(body=forms.SubscriptionForm, answer=forms.Subscription),
        summary="Start the postpaid subscription",
    )
    async def subscription(
        self,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Subscribe a postpaid organization to metered usage, with the saved card."""
        organization = principal.organization_id
        return await accept(
            forms.SubscriptionForm, lambda _form, claim: stripe.subscribe(organization, claim)
        )

    @post(
        "/stripe/webhook",
        status_code=200,
        opt={"public": True},
        operation_class=documented(answer=forms.Received),
        summary="Receive an event of Stripe",
    )
    async def webhook(
        self, request: AnyRequest, stripe: NamedDependency[StripeService], settings: NamedDependency[Settings]
    ) -> Json:
        """For Stripe only: signed, taken in once, answered 500 where it must come again."""
        body = await read_raw(request, _EVENT_BYTES, settings.limits.body_seconds)
        return await stripe.receive(body, request.headers.get("stripe-signature"))
