"""The calls we make to Stripe: typed, asynchronous, one pinned API version, an idempotency key on every POST.

The stripe package takes half a second and 40 MB to import, so it is imported with the first call.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stripe import RequestOptions, StripeClient
    from stripe.params import CustomerCreateParams, PaymentIntentCreateParams, SubscriptionCreateParams
    from stripe.params.billing import MeterEventAdjustmentCreateParams, MeterEventCreateParams
    from stripe.params.billing_portal import SessionCreateParams as PortalParams
    from stripe.params.checkout import SessionCreateParams as CheckoutParams

API_VERSION: Final = "2026-10-28.endive"
DEFAULT_API_BASE: Final = "https://api.stripe.com"

_TIMEOUT_SECONDS: Final = 20.0
_RETRIES: Final = 2
_PAGE: Final = 100

Json = dict[str, Any]


class StripeError(Exception):
    """Stripe did not do what it was asked. The message is fit for the operator's eyes."""


class StripeRefused(StripeError):
    """Stripe answered no: nothing was done, and the same request will be refused again."""

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class CardDeclined(StripeRefused):
    """The card was not charged. `payment_intent` is the attempt."""

    def __init__(self, message: str, *, code: str | None = None, payment_intent: str | None = None) -> None:
        super().__init__(message, code=code, status=402)
        self.payment_intent = payment_intent


class StripeUnavailable(StripeError):
    """Stripe could not do it now. `unsent`: it surely did not; `answered`: it said so, and repeats that under this key."""

    def __init__(self, message: str, *, unsent: bool = False, answered: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first."""

    data: list[Json]
    has_more: bool


class Stripe:
    """One account. Answers are plain dictionaries as Stripe sends them."""

    def __init__(
        self, api_key: str, *, api_base: str = DEFAULT_API_BASE, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        self._api_key = api_key
        self._api_base = api_base.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._http: Any = None

    async def create_customer(self, params: "CustomerCreateParams", key: str) -> Json:
        """Make a customer."""
        return await self._post(lambda c, o: c.v1.customers.create_async(params, o), key)

    async def create_checkout(self, params: "CheckoutParams", key: str) -> Json:
        """Make a Checkout session."""
        return await self._post(lambda c, o: c.v1.checkout.sessions.create_async(params, o), key)

    async def create_portal(self, params: "PortalParams", key: str) -> Json:
        """Make a session of the customer portal."""
        return await self._post(lambda c, o: c.v1.billing_portal.sessions.create_async(params, o), key)

    async def create_payment(self, params: "PaymentIntentCreateParams", key: str) -> Json:
        """Charge, once: the caller repeats it. CardDeclined if the card was not charged."""
        return await self._post(lambda c, o: c.v1.payment_intents.create_async(params, o), key, retries=0)

    async def create_subscription(self, params: "SubscriptionCreateParams", key: str) -> Json:
        """Subscribe a customer."""
        return await self._post(lambda c, o: c.v1.subscriptions.create_async(params, o), key)

    async def send_meter_event(self, params: "MeterEventCreateParams", key: str) -> Json:
        """Report usage, once: the caller repeats it."""
        return await self._post(
            lambda c, o: c.v1.billing.meter_events.create_async(params, o), key, retries=0
        )

    async def adjust_meter_event(self, params: "MeterEventAdjustmentCreateParams", key: str) -> Json:
        """Cancel reported usage."""
        return await self._post(
            lambda c, o: c.v1.billing.meter_event_adjustments.create_async(params, o), key
        )

    async def cards(self, customer_id: str) -> list[Json]:
        """List the cards a customer has saved, newest first."""
        page = await self.page(f"customers/{customer_id}/payment_methods", {"type": "card"}, 10)
        return page.data

    async def page(self, kind: str, params: Mapping[str, Any], limit: int, after: str | None = None) -> Page:
        """One page of a list: `invoices`, `charges`, `payment_intents`, `checkout/sessions`, ..."""
        wanted = {**params, "limit": limit} | ({"starting_after": after} if after else {})
        answer = await self._call(lambda client: client.raw_request_async("get", f"/v1/{kind}", **wanted))
        return Page(list(answer["data"]), bool(answer.get("has_more")))

    async def every(self, kind: str, **params: Any) -> AsyncIterator[Json]:
        """All objects of a list, page by page."""
        after: str | None = None
        while True:
            page = await self.page(kind, params, _PAGE, after)
            for item in page.data:
                yield item
            if not page.has_more or not page.data:
                return
            after = page.data[-1]["id"]

    async def usage_by_day(self, meter_id: str, customer_id: str, start: int, end: int) -> list[Json]:
        """Sum a customer's usage per UTC day; `start` and `end` are Unix seconds at midnight."""
        params = {"customer": customer_id, "start_time": start, "end_time": end}
        kind = f"billing/meters/{meter_id}/event_summaries"
        return [each async for each in self.every(kind, **params, value_grouping_window="day")]

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close_async()
            self._http = None
            self.__dict__.pop("_parts", None)

    async def _post(
        self,
        call: "Callable[[StripeClient, RequestOptions], Awaitable[Any]]",
        key: str,
        retries: int = _RETRIES,
    ) -> Json:
        options: RequestOptions = {"idempotency_key": key, "max_network_retries": retries}
        return await self._call(lambda client: call(client, options))

    async def _call(self, call: "Callable[[StripeClient], Awaitable[Any]]") -> Json:
        """Call, and turn the package's errors into ours."""
        client, package, aiohttp = self._parts
        try:
            answer = await call(client)
        except package.StripeError as error:
            raise _translated(package, aiohttp, error) from error
        except (OSError, TimeoutError, aiohttp.ClientError) as error:  # the answer broke off
            raise StripeUnavailable(f"{type(error).__name__}: {error}") from error
        response = getattr(answer, "last_response", answer)
        found: Json = json.loads(response.body)
        return found

    @cached_property
    def _parts(self) -> "tuple[StripeClient, Any, Any]":
        package, aiohttp = _load()
        self._http = package.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=self._timeout_seconds))
        client = package.StripeClient(
            self._api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": self._api_base, "meter_events": self._api_base},
            max_network_retries=_RETRIES,
            http_client=self._http,
        )
        return client, package, aiohttp


def _load() -> tuple[Any, Any]:
    import aiohttp  # noqa: PLC0415
    import stripe  # noqa: PLC0415

    stripe.enable_telemetry = False
    logging.getLogger("stripe").setLevel(logging.WARNING)
    return stripe, aiohttp


def _translated(package: Any, aiohttp: Any, error: Any) -> StripeError:
    message = error.user_message or str(error)
    if isinstance(error, package.CardError):
        details = (error.json_body or {}).get("error", {})
        intent = (details.get("payment_intent") or {}).get("id")
        return CardDeclined(message, code=details.get("decline_code") or error.code, payment_intent=intent)
    if isinstance(error, package.InvalidRequestError | package.IdempotencyError):
        return StripeRefused(message, code=error.code, status=error.http_status)
    if isinstance(error, package.APIConnectionError):
        return StripeUnavailable(message, unsent=isinstance(error.__cause__, aiohttp.ClientConnectorError))
    turned_away = package.AuthenticationError | package.PermissionError | package.RateLimitError
    return StripeUnavailable(message, unsent=isinstance(error, turned_away), answered=True)
