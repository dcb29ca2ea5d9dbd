"""What a client may say of credit, budgets and terms. Unknown fields are refused."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.keys.forms import BudgetLimit, Flag, Name, PositiveUsd, Seconds, UnixSeconds, Usd

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreditForm(_Form):
    """Credit from the operator. With `expires_at` (Unix seconds) it is promotional: used first, and it ends."""

    amount_usd: PositiveUsd
    reason: Reason
    organization: Id | None = None
    expires_at: UnixSeconds | None = None


class AdjustmentForm(_Form):
    """A correction of paid credit, up or down."""

    amount_usd: Usd
    reason: Reason
    organization: Id | None = None


class RefundForm(_Form):
    """Give back what a video was charged, or `amount_usd` of it."""

    video: Id
    amount_usd: PositiveUsd | None = None
    reason: Reason


class BudgetForm(BudgetLimit):
    """A budget of the organization, a project, a key or an end user (the `user` field of requests)."""

    scope: Literal["organization", "project", "key", "user"] = "organization"
    scope_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None


class BudgetChanges(_Form):
    """A new amount in the budget's own unit, or another strictness."""

    amount_usd: Annotated[Usd, Field(ge=0)] | None = None
    seconds: Seconds | None = None
    hard: Flag | None = None


class TermsForm(_Form):
    """How an organization is served and pays; only the fields that are sent change, null lifts `margin`."""

    name: Name | None = None
    plan: Id | None = None
    margin: Annotated[Decimal, Field(gt=0, le=1000, max_digits=10, decimal_places=6)] | None = None
    billing_mode: Literal["off", "prepaid", "postpaid"] | None = None
    credit_limit_usd: Annotated[Usd, Field(ge=0)] | None = None
    suspended: Flag | None = None
