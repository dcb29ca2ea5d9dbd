"""/v1/organization/usage/videos and /v1/organization/costs: OpenAI's buckets, CSV, FOCUS."""

from typing import Any, Final, Literal

from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from pydantic import BaseModel, ConfigDict

from gateway.http.auth import requires
from gateway.http.csv_answer import CSV, Form, csv_answer, provide_csv_form, provide_focus_form
from gateway.http.openapi import documented
from gateway.http.usage_parameters import ASKED_COSTS, ASKED_USAGE
from gateway.principal import Principal, Scope
from gateway.usage.query import Asked
from gateway.usage.service import UsageService

JSON: Final = "application/json"


class Answer(BaseModel):
    """Every field is always there."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class _Result(Answer):
    project_id: str | None
    api_key_id: str | None
    model: str | None
    user_id: str | None


class UsageResult(_Result):
    """Videos that ended in a bucket. A dimension that is not grouped by is null."""

    object: Literal["organization.usage.videos.result"] = "organization.usage.videos.result"
    num_videos: int
    num_failed: int
    seconds: float


class Amount(Answer):
    """Money: `value` as a number, `exact` as text with six places."""

    value: float
    currency: Literal["usd"] = "usd"
    exact: str


class CostResult(_Result):
    """What was charged in a bucket. `quantity` only by line_item."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    line_item: str | None
    quantity: float | None
    quantity_unit: Literal["duration_seconds"] | None


class Bucket(Answer):
    """From `start_time` up to `end_time`, in Unix seconds."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int


class UsageBucket(Bucket):
    """One length of time; empty where nothing ended."""

    results: list[UsageResult]


class CostBucket(Bucket):
    """One length of time; empty where nothing was charged."""

    results: list[CostResult]


class Paged(Answer):
    """One page of anything."""

    object: Literal["page"] = "page"
    has_more: bool
    next_page: str | None


class UsagePage(Paged):
    """One page of usage."""

    data: list[UsageBucket]


class CostPage(Paged):
    """One page of costs."""

    data: list[CostBucket]


class UsageController(Controller):
    """What the caller's organization used."""

    path = "/v1/organization/usage"
    tags = ["usage"]
    opt = requires(Scope.USAGE_READ)

    @get(
        "/videos",
        dependencies={
            **ASKED_USAGE,
            "chosen": Provide(provide_csv_form, sync_to_thread=False),
        },
        operation_class=documented(answer=UsagePage, media=(CSV,)),
        summary="Videos per bucket",
    )
    async def videos(
        self,
        principal: NamedDependency[Principal],
        usage: NamedDependency[UsageService],
        asked: NamedDependency[Asked],
        chosen: NamedDependency[Form],
    ) -> Response[Any]:
        """Count videos by when they ended, and the seconds that were billed."""
        if chosen == "csv":
            return csv_answer(usage.usage_csv(principal, asked), "usage")
        return Response(await usage.usage_page(principal, asked), media_type=JSON)


class CostsController(Controller):
    """What the caller's organization was charged."""

    path = "/v1/organization/costs"
    tags = ["usage"]
    opt = requires(Scope.USAGE_READ)

    @get(
        dependencies={
            **ASKED_COSTS,
            "chosen": Provide(provide_focus_form, sync_to_thread=False),
        },
        operation_class=documented(answer=CostPage, media=(CSV,)),
        summary="Costs per bucket",
    )
    async def costs(
        self,
        principal: NamedDependency[Principal],
        usage: NamedDependency[UsageService],
        asked: NamedDependency[Asked],
        chosen: NamedDependency[Form],
    ) -> Response[Any]:
        """Add up what was charged; format=focus answers with the columns of FOCUS 1.2."""
        if chosen == "csv":
            return csv_answer(usage.costs_csv(principal, asked), "costs")
        if chosen == "focus":
            return csv_answer(await usage.costs_focus(principal, asked), "costs-focus")
        return Response(await usage.costs_page(principal, asked), media_type=JSON)
