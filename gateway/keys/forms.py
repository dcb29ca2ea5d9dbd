"""What a client may say of organizations, projects and keys. Unknown fields are refused."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from billing.money import parse_usd
from gateway.errors import BadRequest
from gateway.principal import DEFAULT_SCOPES, Scope

F = TypeVar("F", bound=BaseModel)


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not true or false")  # noqa: TRY004  (pydantic wants ValueError)
    return value


def _true_or_false(value: Any) -> Any:
    """Take a form's texts too, but no other word for it: a secret's life hangs on this."""
    known = {"true": True, "false": False}
    found = value if isinstance(value, bool) else known.get(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be true or false")
    return found


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Flag = Annotated[bool, BeforeValidator(_true_or_false)]
Count = Annotated[int, BeforeValidator(_not_a_boolean), Field(ge=1, le=1_000_000)]
UnixSeconds = Annotated[int, BeforeValidator(_not_a_boolean), Field(ge=1, le=253_402_300_799)]


def _micros(value: Any) -> int:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError('must be text such as "25.00"')  # noqa: TRY004  (pydantic wants ValueError)
    return parse_usd(str(value))


def _milliseconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a number of seconds")  # noqa: TRY004
    try:
        seconds = Decimal(str(value))
        exact = seconds.is_finite() and seconds == round(seconds, 3)  # too large a number cannot be rounded
    except ArithmeticError:
        raise ValueError("must be a number of seconds") from None
    if not exact:
        raise ValueError("must be a number of seconds with at most three decimals")
    return int(seconds * 1000)


Usd = Annotated[int, BeforeValidator(_micros, json_schema_input_type=str | int)]
"""USD as text in requests, micro-USD inside."""

PositiveUsd = Annotated[Usd, Field(gt=0)]
Seconds = Annotated[
    int, BeforeValidator(_milliseconds, json_schema_input_type=str | float), Field(ge=0, le=10**12)
]
"""Seconds in requests, milliseconds inside."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NameForm(_Form):
    """A new project, or a new name for one."""

    name: Name


class OrganizationForm(NameForm):
    """A new organization, on a plan if it is not to be `unlimited`."""

    plan: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None


class NoFields(_Form):
    """A request that says everything in its path."""


class BudgetLimit(_Form):
    """How much in a UTC day or month: `amount_usd`, or `seconds` of video. Not `hard`: it only tells."""

    period: Literal["day", "month"] = "month"
    amount_usd: Annotated[Usd, Field(ge=0)] | None = None
    seconds: Seconds | None = None
    hard: Flag = True

    @property
    def unit(self) -> Literal["usd", "seconds"]:
        """What is counted."""
        return "usd" if self.amount_usd is not None else "seconds"

    @property
    def amount(self) -> int | None:
        """Micro-USD or milliseconds; None unless exactly one was given."""
        if (self.amount_usd is None) == (self.seconds is None):
            return None
        return self.amount_usd if self.amount_usd is not None else self.seconds


class KeyForm(_Form):
    """A new key. `models` None means every model; limits None mean none. `expires_at` is in Unix seconds.

    `budget` is set for the key: see /v1/billing/budgets.
    """

    name: Name
    scopes: frozenset[Scope] = Field(default=frozenset(DEFAULT_SCOPES), min_length=1)
    models: frozenset[ModelName] | None = Field(default=None, max_length=500)
    requests_per_minute: Count | None = None
    concurrent_videos: Count | None = None
    expires_at: UnixSeconds | None = None
    budget: BudgetLimit | None = None


class KeyChanges(_Form):
    """Changes to a key: only the fields that are sent change; null lifts a limit."""

    name: Name | None = None
    scopes: frozenset[Scope] | None = Field(default=None, min_length=1)
    models: frozenset[ModelName] | None = Field(default=None, max_length=500)
    requests_per_minute: Count | None = None
    concurrent_videos: Count | None = None
    expires_at: UnixSeconds | None = None


def budget_values(budget_id: str, organization_id: str, form: BudgetLimit, now: int) -> dict[str, Any]:
    """Make the columns of a budget but its scope. BadRequest unless it names exactly one amount."""
    if form.amount is None:
        raise BadRequest("A budget needs either 'amount_usd' or 'seconds'.", param="amount_usd")
    return {
        "id": budget_id,
        "organization_id": organization_id,
        "period": form.period,
        "unit": form.unit,
        "amount": form.amount,
        "hard": form.hard,
        "created_at": now,
    }


def parse(form: type[F], fields: Mapping[str, Any]) -> F:
    """Check a request's fields. BadRequest names the first field that is wrong and what it takes."""
    try:
        return form.model_validate(dict(fields))
    except ValidationError as error:
        raise _bad_request(form, error) from None


def _bad_request(form: type[BaseModel], error: ValidationError) -> BadRequest:
    first = error.errors(include_url=False)[0]
    param = "".join(f"[{part}]" if n else str(part) for n, part in enumerate(first["loc"]))
    if first["type"] == "extra_forbidden":
        taken = ", ".join(form.model_fields) or "none"
        message = f"Unknown field '{param}'. The fields here are: {taken}."
        return BadRequest(message, param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return BadRequest(
            f"Missing required field '{param}'.", param=param, code="missing_required_parameter"
        )
    what = "must be an object" if first["type"] == "model_type" else first["msg"]
    return BadRequest(f"Invalid value for '{param}': {what.removeprefix('Value error, ')}.", param=param)
