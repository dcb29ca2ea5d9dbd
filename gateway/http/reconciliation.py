"""/v1/billing/reconciliation: our charge, our estimate and what the upstreams say, for the operator."""

from typing import Annotated, Any, Literal

from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from gateway.errors import BadRequest
from gateway.http.auth import requires
from gateway.http.openapi import documented
from gateway.http.usage import JSON, Answer, Bucket, Paged
from gateway.http.usage_parameters import (
    AnyRequest,
    EndTime,
    PageCursor,
    StartTime,
    Values,
    join_lists,
)
from gateway.principal import Scope
from gateway.usage.query import Asked
from gateway.usage.reconciliation import Reconciliation

By = Annotated[
    str,
    QueryParameter(description="One result per day, or per video.", schema_extra={"enum": ["day", "video"]}),
]
Different = Annotated[
    bool,
    QueryParameter(description="With by=video: only those whose upstream charged what was not expected."),
]
Limit = Annotated[
    int | None,
    QueryParameter(
        ge=1, le=1000, description="Days (7, at most 31) or videos (100, at most 1000) on a page."
    ),
]


class Reconciled(Answer):
    """USD as text, null where nobody knows. `difference` is reported less estimated, where both are known."""

    currency: Literal["usd"] = "usd"
    charged: str
    quoted: str
    estimated: str | None
    reported: str | None
    difference: str | None


class ReconciledDay(Reconciled):
    """Videos that ended on a day in UTC; of `num_reported` the upstream told what it charged."""

    object: Literal["billing.reconciliation.day"] = "billing.reconciliation.day"
    num_videos: int
    num_failed: int
    num_reported: int


class ReconciledVideo(Reconciled):
    """One video that ended."""

    object: Literal["billing.reconciliation.video"] = "billing.reconciliation.video"
    id: str
    organization_id: str
    project_id: str
    model: str
    upstream: str | None
    status: Literal["completed", "failed"]
    completed_at: int


class ReconciledBucket(Bucket):
    """One day; empty where nothing ended."""

    results: list[ReconciledDay]


class ReconciliationPage(Paged):
    """One page: buckets for by=day, videos for by=video."""

    data: list[ReconciledBucket | ReconciledVideo]


def provide_asked(
    request: AnyRequest,
    *,
    start_time: StartTime,
    end_time: EndTime = None,
    organization_ids: Values = None,
    models: Values = None,
    limit: Limit = None,
    page: PageCursor = None,
) -> Asked:
    """Read what is asked: the dependency `asked`."""
    lists = join_lists(request, {"organization_ids": organization_ids, "models": models})
    return Asked(start_time, end_time, limit=limit, page=page, lists=lists)


class ReconciliationController(Controller):
    """Every organization's videos against the upstreams' bills."""

    path = "/v1/billing/reconciliation"
    tags = ["billing"]
    opt = requires(Scope.OPERATOR)

    @get(
        dependencies={"asked": Provide(provide_asked, sync_to_thread=False)},
        operation_class=documented(answer=ReconciliationPage),
        summary="Compare charges, estimates and upstream costs",
    )
    async def compare(
        self,
        reconciliation: NamedDependency[Reconciliation],
        asked: NamedDependency[Asked],
        by: By = "day",
        *,
        different: Different = False,
    ) -> Response[Any]:
        """Show what was charged, quoted, expected of the upstream, and reported by it."""
        if by == "video":
            return Response(await reconciliation.videos(asked, different=different), media_type=JSON)
        if by != "day":
            raise BadRequest("Invalid value for 'by': use 'day' or 'video'.", param="by")
        if different:
            raise BadRequest("'different' picks videos: send by=video with it.", param="different")
        return Response(await reconciliation.days(asked), media_type=JSON)
