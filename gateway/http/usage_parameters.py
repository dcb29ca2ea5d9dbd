"""Query parameters of usage and costs: OpenAI's names; lists repeated, as name[], or separated by commas."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from gateway.usage.query import COSTS, LATEST, MOST_VALUES, USAGE, Asked, Report

AnyRequest = Request[Any, Any, Any]

_LIST_LENGTH: Final = 2000
StartTime = Annotated[
    int, QueryParameter(ge=0, le=LATEST, description="Unix seconds; the bucket they lie in is the first.")
]
EndTime = Annotated[
    int | None, QueryParameter(ge=0, le=LATEST, description="Unix seconds, exclusive. Default: now.")
]
Limit = Annotated[
    int | None,
    QueryParameter(ge=1, le=1440, description="Buckets on a page; default and most by bucket_width."),
]
PageCursor = Annotated[
    str | None, QueryParameter(min_length=1, max_length=100, description="next_page of the answer before.")
]


def _listing(text: str) -> Any:
    return QueryParameter(description=text, max_items=MOST_VALUES)


GroupBy = Annotated[list[str] | None, _listing("Dimensions to group by, in any combination.")]
Values = Annotated[list[str] | None, _listing("Count only these.")]


def _width(report: Report) -> Any:
    return QueryParameter(
        description="Length of a bucket, in UTC.", schema_extra={"enum": list(report.limits)}
    )


def _provide_common(
    request: AnyRequest,
    *,
    start_time: StartTime,
    end_time: EndTime = None,
    group_by: GroupBy = None,
    project_ids: Values = None,
    api_key_ids: Values = None,
    models: Values = None,
    user_ids: Values = None,
    limit: Limit = None,
    page: PageCursor = None,
) -> Asked:
    """Read what both reports are asked: the dependency `common`."""
    lists = {
        "group_by": group_by,
        "project_ids": project_ids,
        "api_key_ids": api_key_ids,
        "models": models,
        "user_ids": user_ids,
    }
    return Asked(start_time, end_time, limit=limit, page=page, lists=join_lists(request, lists))


def _provide_usage(
    common: NamedDependency[Asked], bucket_width: Annotated[str, _width(USAGE)] = "1d"
) -> Asked:
    return replace(common, bucket_width=bucket_width)


def _provide_costs(
    request: AnyRequest,
    common: NamedDependency[Asked],
    bucket_width: Annotated[str, _width(COSTS)] = "1d",
    line_items: Values = None,
) -> Asked:
    lists = {**(common.lists or {}), **join_lists(request, {"line_items": line_items})}
    return replace(common, bucket_width=bucket_width, lists=lists)


def _asked(provider: Callable[..., Asked]) -> dict[str, Provide]:
    return {
        "common": Provide(_provide_common, sync_to_thread=False),
        "asked": Provide(provider, sync_to_thread=False),
    }


ASKED_USAGE: Final = _asked(_provide_usage)
"""The dependencies by which /v1/organization/usage/videos gets `asked`."""

ASKED_COSTS: Final = _asked(_provide_costs)
"""The dependencies by which /v1/organization/costs gets `asked`."""


def join_lists(request: AnyRequest, named: dict[str, list[str] | None]) -> dict[str, list[str]]:
    """Join the spellings of list parameters. A line item has commas of its own, so it is never split."""
    found: dict[str, list[str]] = {}
    for name, values in named.items():
        given = [*(values or ()), *request.query_params.getall(f"{name}[]", [])]
        parts = given if name == "line_items" else [part for each in given for part in _split(each)]
        if parts:
            found[name] = parts
    return found


def _split(text: str) -> list[str]:
    return text[: _LIST_LENGTH * MOST_VALUES].split(",")
