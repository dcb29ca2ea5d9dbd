"""Public JSON of balances, entries, credit, budgets and plans. Money is USD as text, times are Unix seconds."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from billing.budgets import period_end, seconds_text
from billing.money import format_usd, to_decimal
from billing.plans import Plan
from gateway.usage.view import iso

LEDGER_COLUMNS: Final = ("created_at", "id", "type", "subject", "account", "amount", "currency", "memo")


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class _Listed(_Answer):
    object: Literal["list"] = "list"
    first_id: str | None
    last_id: str | None
    has_more: bool


class Balance(_Answer):
    """What an organization can spend: `available` is paid and promotional credit together, less what is held."""

    object: Literal["billing.balance"] = "billing.balance"
    organization_id: str
    currency: Literal["usd"] = "usd"
    mode: Literal["off", "prepaid", "postpaid"]
    available: str
    promotional: str
    held: str
    receivable: str
    credit_limit: str
    suspended: str | None


class LedgerLine(_Answer):
    """One account's part of an entry."""

    account: str
    amount: str


class LedgerEntry(_Answer):
    """One step of the books; `amount` is what it did to the available credit."""

    id: str
    object: Literal["billing.ledger_entry"] = "billing.ledger_entry"
    type: str
    subject: str
    created_at: int
    amount: str
    lines: list[LedgerLine]
    memo: str | None


class LedgerList(_Listed):
    """One page of entries."""

    data: list[LedgerEntry]


class Credit(_Answer):
    """Credit that the operator gave; `remaining` and `expires_at` are null where it does not end."""

    id: str
    object: Literal["billing.credit"] = "billing.credit"
    organization_id: str
    amount_usd: str
    remaining_usd: str | None
    reason: str | None
    created_at: int
    expires_at: int | None


class CreditList(_Listed):
    """One page of credits."""

    data: list[Credit]


class Refund(_Answer):
    """What was given back of a video's charge, as paid credit."""

    id: str
    object: Literal["billing.refund"] = "billing.refund"
    video: str
    organization_id: str
    amount_usd: str
    reason: str
    created_at: int


class Budget(_Answer):
    """A limit and what of it is used in the current period; amounts are USD as text, or seconds."""

    id: str
    object: Literal["billing.budget"] = "billing.budget"
    scope: str
    scope_id: str
    period: Literal["day", "month"]
    unit: Literal["usd", "seconds"]
    amount: str
    used: str
    hard: bool
    period_ends_at: int
    created_at: int


class BudgetList(_Listed):
    """One page of budgets."""

    data: list[Budget]


class DeletedBudget(_Answer):
    """A budget that was just removed."""

    id: str
    object: Literal["billing.budget.deleted"] = "billing.budget.deleted"
    deleted: Literal[True] = True


class PlanList(_Answer):
    """Every plan of this installation."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]


class OrganizationTerms(_Answer):
    """An organization, how it is served and how it pays."""

    id: str
    object: Literal["organization"] = "organization"
    name: str
    created_at: int
    plan: str
    margin: str | None
    billing: Balance


def public_balance(row: Any) -> dict[str, Any]:
    """Shape a balance row."""
    return Balance(
        organization_id=row.organization_id,
        mode=row.mode,
        available=format_usd(row.available + row.promotional),
        promotional=format_usd(row.promotional),
        held=format_usd(row.held),
        receivable=format_usd(row.receivable),
        credit_limit=format_usd(row.credit_limit),
        suspended=row.suspended,
    ).model_dump()


def public_entry(entry: Any, lines: list[tuple[str, int]]) -> dict[str, Any]:
    """Shape an entry with its lines (account, micro-USD)."""
    available = sum(amount for account, amount in lines if account in {"customer", "promotional"})
    return LedgerEntry(
        id=entry.id,
        type=entry.kind,
        subject=entry.subject,
        created_at=entry.created_at // 1000,
        amount=format_usd(available),
        lines=[LedgerLine(account=account, amount=format_usd(amount)) for account, amount in lines],
        memo=entry.memo,
    ).model_dump()


def ledger_lines(entries: Iterable[tuple[Any, list[tuple[str, int]]]]) -> Iterable[Sequence[object]]:
    """CSV rows in the order of LEDGER_COLUMNS: one per line of an entry."""
    for entry, lines in entries:
        for account, amount in lines:
            yield (
                iso(entry.created_at),
                entry.id,
                entry.kind,
                entry.subject,
                account,
                to_decimal(amount),
                "USD",
                entry.memo,
            )


def public_credit(row: Any) -> dict[str, Any]:
    """Shape a credit: an entry of the kinds credit and grant, with its lot where it has one."""
    return Credit(
        id=row.subject,
        organization_id=row.organization_id,
        amount_usd=format_usd(row.amount),
        remaining_usd=None if row.remaining is None else format_usd(row.remaining),
        reason=row.memo,
        created_at=row.created_at // 1000,
        expires_at=None if row.expires_at is None else row.expires_at // 1000,
    ).model_dump()


def public_lot(row: Any) -> dict[str, Any]:
    """Shape credit that ends."""
    return Credit(
        id=row.id,
        organization_id=row.organization_id,
        amount_usd=format_usd(row.granted),
        remaining_usd=format_usd(row.remaining),
        reason=row.memo,
        created_at=row.created_at // 1000,
        expires_at=row.expires_at // 1000,
    ).model_dump()


def public_budget(row: Any, used: int, start: int) -> dict[str, Any]:
    """Shape a budget and what is used of it in the period that began at `start` (milliseconds)."""

    def text(amount: int) -> str:
        return format_usd(amount) if row.unit == "usd" else seconds_text(amount)

    return Budget(
        id=row.id,
        scope=row.scope,
        scope_id=row.scope_id,
        period=row.period,
        unit=row.unit,
        amount=text(row.amount),
        used=text(used),
        hard=row.hard,
        period_ends_at=period_end(row.period, start) // 1000,
        created_at=row.created_at // 1000,
    ).model_dump()


def public_plan(plan: Plan) -> dict[str, Any]:
    """Shape a plan."""
    return {"object": "billing.plan", **plan.model_dump(mode="json")}
