"""/billing: what can be spent, the plan, credit that ends, and every entry of the books."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Stream

from gateway.billing.books import COST, KINDS
from gateway.billing.service import BillingService
from gateway.billing.stripe import StripeService
from gateway.clock import Clock
from gateway.dashboard.page import Pages
from gateway.http.auth import requires
from gateway.http.csv_answer import csv_answer
from gateway.keys.store import PageQuery
from gateway.members.sessions import Visitor
from gateway.principal import Scope

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
_NEWEST: Final = 8
_ON_A_PAGE: Final = 50
_CREDITS: Final = 10
_A_MOMENT: Final = 900
_REAL_TIME: Final = 1_000_000_000
_OF_CUSTOMERS: Final = tuple(kind for kind in KINDS if kind != COST)
PRESETS: Final = ("10.00", "25.00", "50.00", "100.00")
MODES: Final[Mapping[str, tuple[str, str]]] = {
    "off": ("Billing is off", "Costs are recorded, nothing is charged and nothing is refused for money."),
    "prepaid": ("Prepaid", "Videos are paid from credit: set aside when a video is accepted, charged when it is ready, given back otherwise."),
    "postpaid": ("Postpaid", "Videos are made first and billed monthly, up to the credit limit."),
}  # fmt: skip
SUSPENDED: Final[Mapping[str, str]] = {
    "receivable": "money was taken back beyond the balance. A top-up pays it and ends this.",
    "payment_failed": "an invoice was not paid.",
    "operator": "the operator has suspended it.",
}
KIND_WORDS: Final[Mapping[str, str]] = {
    "hold": "Held for a video",
    "capture": "Charged for a video",
    "release": "Given back: no charge",
    "top_up": "Paid in",
    "credit": "Credit given",
    "grant": "Credit given that ends",
    "expire": "Credit that ended",
    "refund": "Refund of a video",
    "reverse": "Payment taken back",
    "adjust": "Correction",
    COST: "Upstream's cost",
}


class BillingPages(Controller):
    """The money of the present organization."""

    path = "/billing"
    opt = requires(Scope.BILLING_READ)

    @get()
    async def billing_page(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
        stripe: NamedDependency[StripeService],
        clock: NamedDependency[Clock],
        pages: NamedDependency[Pages],
        paid: FromQuery[int | None] = None,
    ) -> Response[str]:
        """Show the balance and all that changes it. `paid` is the time of a checkout that has just ended."""
        who = visitor.principal
        standing = await stripe.standing(visitor.organization_id)
        return pages.show(
            request,
            "billing/billing.html",
            balance=await billing.balance(who),
            plan=who.plan.model_dump(mode="json"),
            use=await billing.books.plan_use(who),
            lots=await billing.books.lots(who),
            credits=(await billing.credits(who, PageQuery(_CREDITS, None, True))).data,
            entries=(await billing.books.statement(who, PageQuery(_NEWEST, None, True), _OF_CUSTOMERS)).data,
            stripe=standing,
            recharge=await stripe.recharge(visitor.organization_id) if standing["configured"] else None,
            payment=await _payment(visitor, billing, clock, paid),
            paid=paid,
            presets=PRESETS,
            modes=MODES,
            suspended=SUSPENDED,
            kinds=KIND_WORDS,
            writes=visitor.may(Scope.BILLING_WRITE),
            tab="overview",
        )

    @get("/ledger")
    async def ledger_page(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
        pages: NamedDependency[Pages],
        kind: FromQuery[str | None] = None,
        after: FromQuery[str | None] = None,
    ) -> Response[str]:
        """List the entries of the books with what was available after each."""
        kinds = [kind] if kind else []
        page = PageQuery(_ON_A_PAGE, after or None, True)
        found = await billing.books.statement(visitor.principal, page, kinds)
        asked = {"kind": kind} if kind else {}
        older = urlencode({**asked, "after": found.data[-1]["id"]}) if found.has_more else None
        return pages.show(
            request,
            "billing/ledger.html",
            entries=found.data,
            kind=kind or "",
            kinds=KIND_WORDS,
            choices=[("", "Everything"), *_choices(visitor)],
            next=f"/billing/ledger?{older}" if older else None,
            csv=f"/billing/ledger/file?{urlencode(asked)}",
            tab="ledger",
        )

    @get("/ledger/file")
    async def ledger_file(
        self,
        visitor: NamedDependency[Visitor],
        billing: NamedDependency[BillingService],
        kind: FromQuery[str | None] = None,
    ) -> Stream:
        """Send the whole ledger as CSV, or the entries of one kind."""
        kinds = [kind] if kind else []
        return csv_answer(await billing.books.csv(visitor.principal, descending=True, kinds=kinds), "ledger")


def _choices(visitor: Visitor) -> list[tuple[str, str]]:
    known = KINDS if visitor.may(Scope.OPERATOR) else _OF_CUSTOMERS
    return [(kind, KIND_WORDS[kind]) for kind in known]


async def _payment(visitor: Visitor, billing: BillingService, clock: Clock, paid: int | None) -> str | None:
    """Tell what became of the payment of a checkout: "arrived", "awaited", "late", or None for no checkout."""
    if paid is None:
        return None
    now = clock.now_ms() // 1000
    since = paid if paid >= _REAL_TIME else now - _A_MOMENT
    if await billing.books.topped_up(visitor.principal, since):
        return "arrived"
    return "awaited" if now - since <= _A_MOMENT else "late"
