"""Plans: what an organization may do and on what terms. Data, not code: shipped ones in plans.toml, yours beside them."""

import fnmatch
import tomllib
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Queue = Literal["slow", "standard", "fast"]
QUEUE_PRIORITY: Final[dict[Queue, int]] = {"slow": 200, "standard": 100, "fast": 0}
"""Added to a job's priority; lower runs first. A request's service tier orders jobs within their queue only."""

UNLIMITED_PLAN: Final = "unlimited"


class Plan(BaseModel):
    """One plan. None means no limit.

    `models` are names or shell patterns. `max_short_edge` in pixels. `concurrent_videos` and `requests_per_minute`
    count for the whole organization. `fast_videos_per_month` start in `queue`, the ones after them in the slow queue.
    `included_monthly_usd` is credit that ends with its UTC month. `margin` multiplies the upstream cost where a model
    has no price of its own. `cancel_fee_usd` is the most that a video cancelled after its start costs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str = ""
    models: tuple[str, ...] | None = None
    max_seconds: Decimal | None = Field(default=None, gt=0)
    max_short_edge: int | None = Field(default=None, ge=1)
    orientation: Literal["portrait", "landscape"] | None = None
    concurrent_videos: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    queue: Queue = "standard"
    fast_videos_per_month: int | None = Field(default=None, ge=0)
    watermark: bool = False
    retention_days: float | None = Field(default=None, gt=0)
    included_monthly_usd: Decimal = Field(default=Decimal(0), ge=0)
    margin: Decimal | None = Field(default=None, gt=0)
    cancel_fee_usd: Decimal = Field(default=Decimal(0), ge=0)

    def allows_model(self, model: str) -> bool:
        """Tell whether the plan includes a model, by its public name."""
        return self.models is None or any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)


UNLIMITED: Final = Plan(id=UNLIMITED_PLAN, description="No limits, no included credit.")


class Plans:
    """The plans of an installation: the shipped ones, replaced or joined by the operator's."""

    def __init__(self, own: Iterable[Plan] = ()) -> None:
        self._plans = {plan.id: plan for plan in (UNLIMITED, *shipped(), *own)}

    def get(self, plan_id: str) -> Plan | None:
        """Find a plan; None for a name that no plan has."""
        return self._plans.get(plan_id)

    def all(self) -> list[Plan]:
        """List every plan, the shipped ones first."""
        return list(self._plans.values())


@cache
def shipped() -> tuple[Plan, ...]:
    """Read the example plans that come with onereel."""
    text = resources.files("billing").joinpath("plans.toml").read_text("utf-8")
    return tuple(Plan.model_validate(each) for each in tomllib.loads(text)["plans"])
