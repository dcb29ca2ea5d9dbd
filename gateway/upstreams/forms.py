"""What the operator may say of a stored upstream. Unknown fields are refused."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.keys.forms import Count, Flag

UpstreamName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Rank = Annotated[int, Field(ge=0, le=1_000_000)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UpstreamChanges(_Form):
    """Only the fields that are sent change; null takes back what was said.

    They are those of an [[upstreams]] table: `models` are names of the catalogue's models, or tables that change or add
    one. What is left out, the catalogue of the type fills in.
    """

    base_url: Annotated[str, StringConstraints(max_length=2000)] | None = None
    max_concurrent: Count | None = None
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    polls_per_second: Annotated[float, Field(gt=0)] | None = None
    priority: Rank | None = None
    weight: Rank | None = None
    options: dict[str, Any] | None = None
    credit_usd: Annotated[Decimal, Field(gt=0)] | None = None
    pass_on_rejection_charges: Flag | None = None
    traces: Flag | None = None
    models: Annotated[list[str | dict[str, Any]], Field(max_length=1000)] | None = None


class UpstreamForm(UpstreamChanges):
    """A new upstream. `api_key` is kept encrypted and never shown."""

    name: UpstreamName
    type: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "openai_compatible"
    api_key: Secret | None = None


class CredentialForm(_Form):
    """A new credential for an upstream."""

    api_key: Secret


class PauseForm(_Form):
    """Why nothing new is sent there."""

    reason: Annotated[str, StringConstraints(max_length=500)] = ""
