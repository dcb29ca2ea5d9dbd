"""Costs in the columns of FOCUS 1.2 (FinOps Open Cost and Usage Specification), one row per charge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from billing.money import to_decimal
from gateway.usage.costs import VIDEO_SECONDS
from gateway.usage.query import UsageQuery
from gateway.usage.read import Row
from gateway.usage.view import iso, seconds_of

VERSION: Final = "1.2"
COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SubAccountId",
    "SubAccountName",
    "Tags",
)
"""Every mandatory column of the version, and the optional ones that have something to say here."""

DIMENSIONS: Final = ("project_id", "api_key_id", "model", "line_item")
_SERVICE: Final = "onereel"


@dataclass(frozen=True, slots=True)
class Account:
    """Names beside ids: the organization that pays, and its projects by id."""

    organization_id: str
    name: str
    projects: Mapping[str, str]


def focus_lines(query: UsageQuery, account: Account, rows: Iterable[Row]) -> Iterable[Sequence[object]]:
    """CSV rows in the order of COLUMNS. `query` is grouped by DIMENSIONS."""
    for row in rows:
        charge = _charge(query, account, row)
        yield [charge[name] for name in COLUMNS]


def _charge(query: UsageQuery, account: Account, row: Row) -> dict[str, Any]:
    model, project = row.group.get("model"), row.group.get("project_id")
    made = (row.group.get("line_item") or "").startswith(VIDEO_SECONDS)
    cost = to_decimal(row.revenue)
    quantity: int | Decimal | None = seconds_of(row.billed_ms) if made else None
    month, next_month = _month(row.bucket)
    key = row.group.get("api_key_id")
    return {
        "BilledCost": cost,
        "BillingAccountId": account.organization_id,
        "BillingAccountName": account.name,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": next_month,
        "BillingPeriodStart": month,
        "ChargeCategory": "Usage" if made else "Adjustment",
        "ChargeClass": None,
        "ChargeDescription": row.group.get("line_item"),
        "ChargeFrequency": "Usage-Based" if made else "One-Time",
        "ChargePeriodEnd": iso(row.bucket + query.length),
        "ChargePeriodStart": iso(row.bucket),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": "Seconds" if made else None,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": _SERVICE,
        "ListCost": cost,
        "PricingQuantity": quantity,
        "PricingUnit": "Seconds" if made else None,
        "ProviderName": _SERVICE,
        "PublisherName": _SERVICE,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Video generation",
        "ServiceSubcategory": "Generative AI",
        "SkuId": model,
        "SkuMeter": "Video seconds" if made else None,
        "SubAccountId": project,
        "SubAccountName": account.projects.get(project or ""),
        "Tags": None if key is None else msgspec.json.encode({f"{_SERVICE}/api_key_id": key}).decode(),
    }


def _month(milliseconds: int) -> tuple[str, str]:
    """The calendar month in UTC around a moment: its start and the start of the next."""
    day = datetime.fromtimestamp(milliseconds // 1000, UTC)
    after = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return f"{day:%Y-%m}-01T00:00:00Z", f"{after[0]:04d}-{after[1]:02d}-01T00:00:00Z"
