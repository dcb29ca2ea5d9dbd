"""Who is calling, as every service sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing.balance import Mode
from billing.plans import UNLIMITED, Plan
from gateway.errors import Forbidden


class Scope(StrEnum):
    """What a key may do."""

    VIDEOS_READ = "videos.read"
    VIDEOS_WRITE = "videos.write"
    FILES_READ = "files.read"
    FILES_WRITE = "files.write"
    WEBHOOKS = "webhooks"
    USAGE_READ = "usage.read"
    BILLING_READ = "billing.read"
    BILLING_WRITE = "billing.write"
    ORGANIZATION = "organization"
    OPERATOR = "operator"


DEFAULT_SCOPES: Sequence[Scope] = (
    Scope.VIDEOS_READ,
    Scope.VIDEOS_WRITE,
    Scope.FILES_READ,
    Scope.FILES_WRITE,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `models` None means every model; limits None mean no limit.

    `plan` and `billing_mode` are the organization's; `margin` multiplies the upstream cost where a model has no price
    of its own.
    """

    organization_id: str
    project_id: str
    key_id: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    concurrent_videos: int | None = None
    plan: Plan = UNLIMITED
    margin: Decimal | None = None
    billing_mode: Mode = "off"

    def require(self, scope: Scope) -> None:
        """Forbidden unless the key has the scope (the operator has all)."""
        if scope not in self.scopes and Scope.OPERATOR not in self.scopes:
            raise Forbidden(
                f"This API key lacks the scope '{scope}'. Ask for a key that has it.",
                code="missing_scope",
            )

    def require_model(self, model: str) -> None:
        """Forbidden unless the key may use the model."""
        if self.models is not None and model not in self.models:
            raise Forbidden(
                f"This API key may not use the model '{model}'.", param="model", code="model_not_allowed"
            )
