"""A double of Stripe on 127.0.0.1 that refuses what Stripe refuses.

Requests are checked against the stripe package's parameter types; the key, the API version and an idempotency key
on every POST are enforced; a repeated key gets the stored answer, with another body it is refused.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import stripe.params.billing as billing_params
import stripe.params.billing_portal as portal_params
import stripe.params.checkout as checkout_params
from stripe import WebhookSignature, params

from tests.billing.stripe_params import Refusal, check, decode
from tests.billing.stripe_world import Json, World

API_KEY = "sk_test_of_the_double"
API_VERSION = "2026-10-28.endive"
SECRET = "whsec_of_the_double"

PRICE = "price_metered"
EVENT_NAME = "onereel_usage"


@dataclass
class Call:
    """One request as it arrived."""

    method: str
    path: str
    fields: Json
    key: str | None


@dataclass
class StripeDouble:
    """The server's switchboard. `faults` are carried out one per matching POST: (path, what).

    What: "lost" does the work and hangs up; "unreached" hangs up before it; a status answers that and does nothing.
    """

    world: World = field(default_factory=World)
    base_url: str = ""
    calls: list[Call] = field(default_factory=list)
    faults: list[tuple[str, str | int]] = field(default_factory=list)
    _answers: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.world.prices.add(PRICE)
        self.meter_id = self.world.add_meter(EVENT_NAME)

    def posts(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.method == "POST" and call.path == path]

    def signed(self, event: Json, *, age: float = 0, secret: str = SECRET) -> tuple[bytes, str]:
        """The body and header of a webhook request, signed as Stripe signs."""
        body = json.dumps(event, indent=2)
        stamp = int(self.world.now() - age)
        return body.encode(), WebhookSignature.generate_signature_header(body, secret, stamp)

    def answer(self, handler: "_Handler") -> tuple[int, str] | None:
        """Answer one request; None hangs up."""
        with self._lock:
            return self._answer(handler)

    def _answer(self, handler: "_Handler") -> tuple[int, str] | None:
        url = urlsplit(handler.path)
        length = int(handler.headers.get("content-length") or 0)
        raw = handler.rfile.read(length).decode() if handler.command == "POST" else url.query
        key = handler.headers.get("idempotency-key")
        try:
            _identify(handler)
            fields = decode(raw)
            self.calls.append(Call(handler.command, url.path, fields, key))
            if handler.command != "POST":
                return 200, json.dumps(self._get(url.path, fields))
            return self._post(url.path, raw, fields, key)
        except Refusal as refusal:
            return refusal.status, json.dumps({"error": refusal.error})

    def _post(self, path: str, raw: str, fields: Json, key: str | None) -> tuple[int, str] | None:
        if not key or len(key) > 255:
            raise Refusal("Every POST of ours carries an Idempotency-Key")
        fault = self._fault(path)
        if fault == "unreached":
            return None
        request = f"{path}?{raw}"
        if key in self._answers:
            before, status, text = self._answers[key]
            if before != request:
                raise Refusal(
                    "Keys for idempotent requests can only be used with the same parameters they were first "
                    "used with.",
                    type="idempotency_error",
                )
            return None if fault == "lost" else (status, text)
        if isinstance(fault, int):
            status, text = fault, json.dumps({"error": {"type": "api_error", "message": "Something broke"}})
        else:
            status, text = self._carry_out(path, fields)
        self._answers[key] = (request, status, text)
        return None if fault == "lost" else (status, text)

    def _carry_out(self, path: str, fields: Json) -> tuple[int, str]:
        kind, action = self._posts().get(path, (None, None))
        if kind is None or action is None:
            raise Refusal(f"Unrecognized request URL (POST: {path})", status=404)
        check(kind, fields)
        try:
            return 200, json.dumps(action(fields))
        except Refusal as refusal:
            return refusal.status, json.dumps({"error": refusal.error})

    def _fault(self, path: str) -> str | int | None:
        for n, (where, what) in enumerate(self.faults):
            if where == path:
                del self.faults[n]
                return what
        return None

    def _posts(self) -> dict[str, tuple[type, Callable[[Json], Json]]]:
        world = self.world
        return {
            "/v1/customers": (params.CustomerCreateParams, world.create_customer),
            "/v1/checkout/sessions": (checkout_params.SessionCreateParams, world.create_session),
            "/v1/billing_portal/sessions": (portal_params.SessionCreateParams, world.create_portal),
            "/v1/payment_intents": (params.PaymentIntentCreateParams, world.create_intent),
            "/v1/subscriptions": (params.SubscriptionCreateParams, world.create_subscription),
            "/v1/billing/meter_events": (billing_params.MeterEventCreateParams, world.meter_event),
            "/v1/billing/meter_event_adjustments": (
                billing_params.MeterEventAdjustmentCreateParams,
                world.adjust,
            ),
        }

    def _get(self, path: str, fields: Json) -> Json:
        world = self.world
        lists: dict[str, tuple[type, dict[str, Json]]] = {
            "/v1/payment_intents": (params.PaymentIntentListParams, world.intents),
            "/v1/checkout/sessions": (checkout_params.SessionListParams, world.sessions),
            "/v1/charges": (params.ChargeListParams, world.charges),
            "/v1/refunds": (params.RefundListParams, world.refunds),
            "/v1/disputes": (params.DisputeListParams, world.disputes),
            "/v1/invoices": (params.InvoiceListParams, world.invoices),
            "/v1/subscriptions": (params.SubscriptionListParams, world.subscriptions),
            "/v1/billing/meters": (billing_params.MeterListParams, world.meters),
        }
        if path in lists:
            kind, objects = lists[path]
            check(kind, fields)
            return _listed(list(reversed(objects.values())), fields)
        if match := re.fullmatch(r"/v1/customers/(\w+)/payment_methods", path):
            check(params.CustomerPaymentMethodListParams, fields)
            cards = [each for each in world.cards.values() if each["customer"] == match[1]]
            return _listed(cards[::-1], {**fields, "type": None})
        if match := re.fullmatch(r"/v1/billing/meters/(\w+)/event_summaries", path):
            check(billing_params.MeterEventSummaryListParams, fields)
            return _listed(world.summaries(match[1], fields), {"limit": fields.get("limit", "10")})
        raise Refusal(f"Unrecognized request URL (GET: {path})", status=404)


def _identify(handler: "_Handler") -> None:
    if handler.headers.get("authorization") != f"Bearer {API_KEY}":
        raise Refusal("Invalid API Key provided", status=401)
    if handler.headers.get("stripe-version") != API_VERSION:
        raise Refusal(f"Invalid Stripe API version: {handler.headers.get('stripe-version')}")


def _listed(objects: list[Json], fields: Json) -> Json:
    """Filter and page a list, newest first."""
    limit = int(fields.get("limit", 10))
    if not 1 <= limit <= 100:
        raise Refusal("limit must be from 1 to 100", param="limit")
    earliest = int(fields.get("created", {}).get("gte", 0))
    found = [each for each in objects if each.get("created", earliest) >= earliest]
    for name in ("customer", "status"):
        if fields.get(name) not in {None, "all"}:
            found = [each for each in found if each.get(name) == fields[name]]
    if after := fields.get("starting_after"):
        ids = [each["id"] for each in found]
        if after not in ids:
            raise Refusal(f"No such object: '{after}'", param="starting_after", code="resource_missing")
        found = found[ids.index(after) + 1 :]
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": "/v1/x"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: StripeDouble

    def _serve(self) -> None:
        answer = self.double.answer(self)
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        status, text = answer
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("request-id", "req_of_the_double")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextmanager
def stripe_double() -> Iterator[StripeDouble]:
    """Serve until the block ends."""
    double = StripeDouble()
    handler = type("Handler", (_Handler,), {"double": double})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    double.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
