"""What a client may say of payments, and what it is answered. Unknown fields are refused."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

from billing.money import to_micros

SMALLEST: Final = Decimal("0.50")
LARGEST: Final = Decimal("999999.99")


def _cents(value: Any) -> str:
    """An amount that can be paid: whole cents within Stripe's bounds."""
    amount = _decimal(value)
    if not SMALLEST <= amount <= LARGEST:
        raise ValueError(f"must be from {SMALLEST} to {LARGEST} USD")
    return str(amount)


def _threshold(value: Any) -> str:
    amount = _decimal(value)
    if not 0 <= amount <= LARGEST:
        raise ValueError(f"must be from 0 to {LARGEST} USD")
    return str(amount)


def _decimal(value: Any) -> Decimal:
    try:
        amount = Decimal(value if isinstance(value, str) else "")
    except InvalidOperation:
        raise ValueError('must be an amount in USD as text, such as "25.00"') from None
    if not amount.is_finite() or abs(amount) > LARGEST:
        raise ValueError(f"must be at most {LARGEST} USD")
    if amount != amount.quantize(Decimal("0.01")):
        raise ValueError("must have at most two decimal places")
    return amount


PayableUsd = Annotated[str, BeforeValidator(_cents)]
ThresholdUsd = Annotated[str, BeforeValidator(_threshold)]
WebUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2000)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CheckoutForm(_Form):
    """A top-up. With `save_card` the card may be charged later, by automatic recharge or for postpaid invoices."""

    amount_usd: PayableUsd
    success_url: WebUrl | None = None
    cancel_url: WebUrl | None = None
    save_card: bool = False

    @property
    def amount_micros(self) -> int:
        """In micro-USD."""
        return to_micros(Decimal(self.amount_usd))


class PortalForm(_Form):
    """A visit to the customer portal."""

    return_url: WebUrl | None = None


class RechargeForm(_Form):
    """Automatic recharge: `amount_usd` with the saved card when the credit falls below `threshold_usd`."""

    enabled: bool = True
    threshold_usd: ThresholdUsd | None = None
    amount_usd: PayableUsd | None = None


class SubscriptionForm(_Form):
    """A request without fields."""


class Checkout(BaseModel):
    object: Literal["billing.checkout"] = "billing.checkout"
    id: str
    url: str
    expires_at: int | None


class Portal(BaseModel):
    object: Literal["billing.portal"] = "billing.portal"
    url: str


class Recharge(BaseModel):
    """`last_error` says why the last recharge failed; no other is tried before `next_try_at`."""

    object: Literal["billing.recharge"] = "billing.recharge"
    enabled: bool
    threshold_usd: str
    amount_usd: str
    saved_card: bool
    in_progress: bool
    failures: int
    last_error: str | None
    next_try_at: int | None


class Subscription(BaseModel):
    object: Literal["billing.subscription"] = "billing.subscription"
    id: str
    status: str


class Invoice(BaseModel):
    object: Literal["billing.invoice"] = "billing.invoice"
    id: str
    number: str | None
    status: str | None
    total_usd: str
    paid_usd: str
    created_at: int
    hosted_invoice_url: str | None
    invoice_pdf: str | None


class Receipt(BaseModel):
    object: Literal["billing.receipt"] = "billing.receipt"
    id: str
    status: str
    amount_usd: str
    refunded_usd: str
    created_at: int
    receipt_url: str | None


class _List(BaseModel):
    object: Literal["list"] = "list"
    first_id: str | None
    last_id: str | None
    has_more: bool


class InvoiceList(_List):
    data: list[Invoice]


class ReceiptList(_List):
    data: list[Receipt]


class Received(BaseModel):
    received: bool
