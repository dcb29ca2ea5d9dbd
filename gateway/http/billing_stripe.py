"""/v1/billing/checkout, portal, invoices, receipts, recharge, subscription; Stripe's webhook."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Controller, Request, get, post
from litestar.di import NamedDependency, Provide

from billing.stripe_client import Page
from gateway.billing import stripe_forms as forms
from gateway.billing.stripe import StripeService
from gateway.errors import BadRequest
from gateway.http.accept import accept
from gateway.http.auth import requires
from gateway.http.body import read_raw
from gateway.http.openapi import documented
from gateway.http.pagination import PageRequest, list_envelope, provide_page
from gateway.idempotency.service import Idempotency
from gateway.principal import Principal, Scope

Json = dict[str, Any]
AnyRequest = Request[Any, Any, Any]

_EVENT_BYTES: Final = 1024 * 1024
_PAGE: Final[Mapping[str, Provide]] = {"page": Provide(provide_page, sync_to_thread=False)}
_READ: Final = requires(Scope.BILLING_READ)
_WRITE: Final = requires(Scope.BILLING_WRITE)


def _newest_first(page: PageRequest) -> PageRequest:
    if not page.descending:
        raise BadRequest("This list is always newest first: leave 'order' out.", param="order")
    return page


def _listed(page: Page) -> Json:
    return list_envelope(page.data, has_more=page.has_more)


class StripeController(Controller):
    """What an organization pays and how, collected by Stripe."""

    path = "/v1/billing"
    tags = ["billing"]
    dependencies = _PAGE

    @post(
        "/checkout",
        status_code=200,
        opt=_WRITE,
        operation_class=documented(body=forms.CheckoutForm, answer=forms.Checkout),
        summary="Top up by Stripe Checkout",
    )
    async def checkout(
        self,
        request: AnyRequest,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Answer the page where the top-up is paid. The balance grows when Stripe reports the payment."""
        organization = principal.organization_id
        return await accept(
            request,
            idempotency,
            forms.CheckoutForm,
            lambda form, claim: stripe.checkout(organization, form, claim),
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
        request: AnyRequest,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Answer a link to Stripe's portal, good for a short time: cards, invoices, subscription."""
        organization = principal.organization_id
        return await accept(
            request,
            idempotency,
            forms.PortalForm,
            lambda form, claim: stripe.portal(organization, form, claim),
        )

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
        return _listed(await stripe.invoices(principal.organization_id, wanted.limit, wanted.after))

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
        return _listed(await stripe.receipts(principal.organization_id, wanted.limit, wanted.after))

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
        request: AnyRequest,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Charge the saved card when the credit falls below the threshold; needs a saved card."""
        organization = principal.organization_id
        return await accept(
            request,
            idempotency,
            forms.RechargeForm,
            lambda form, claim: stripe.set_recharge(organization, form, claim),
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
        request: AnyRequest,
        principal: NamedDependency[Principal],
        stripe: NamedDependency[StripeService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Subscribe a postpaid organization to metered usage, with the saved card."""
        organization = principal.organization_id
        return await accept(
            request,
            idempotency,
            forms.SubscriptionForm,
            lambda _form, claim: stripe.subscribe(organization, claim),
        )

    @post(
        "/stripe/webhook",
        status_code=200,
        opt={"public": True},
        operation_class=documented(answer=forms.Received),
        summary="Receive an event of Stripe",
    )
    async def webhook(self, request: AnyRequest, stripe: NamedDependency[StripeService]) -> Json:
        """For Stripe only: signed, taken in once, answered 500 where it must come again."""
        body = await read_raw(request, _EVENT_BYTES)
        return await stripe.receive(body, request.headers.get("stripe-signature"))
