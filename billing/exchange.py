"""Exchange rates: what one unit of another currency costs in USD, each with the day it is from."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field


class ExchangeRate(BaseModel):
    """One dated rate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    usd_per_unit: Decimal = Field(gt=0, max_digits=18, decimal_places=12)
    as_of: date
    source: str = Field(min_length=1, max_length=500)


def usd_per_unit(rates: Iterable[ExchangeRate], currency: str, today: date) -> Decimal | None:
    """Find the newest rate that is not of the future; None where there is none. USD is 1."""
    if currency == "USD":
        return Decimal(1)
    known = [rate for rate in rates if rate.currency == currency and rate.as_of <= today]
    return max(known, key=lambda rate: rate.as_of).usd_per_unit if known else None


def next_change(rates: Iterable[ExchangeRate], today: date) -> date | None:
    """Tell when the next rate begins to apply, None where all of them already have."""
    return min((rate.as_of for rate in rates if rate.as_of > today), default=None)
