"""/v1/organization/audit_logs, by OpenAI's admin conventions."""

from typing import Annotated, Any, Final, Literal

from litestar import Controller, Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from pydantic import BaseModel

from gateway.audit.service import AuditService, Wanted
from gateway.http.auth import requires
from gateway.http.openapi import documented
from gateway.http.pagination import DEFAULT_LIMIT, AfterParameter, listed
from gateway.http.usage_parameters import join_lists
from gateway.principal import Principal, Scope

_MOST_VALUES: Final = 100
_LATEST: Final = 4_000_000_000


def _time(name: str, text: str) -> Any:
    return QueryParameter(
        name=f"effective_at[{name}]", ge=0, le=_LATEST, description=f"Unix seconds: {text}."
    )


Values = Annotated[list[str] | None, QueryParameter(description="Only these.", max_items=_MOST_VALUES)]
BeforeParameter = Annotated[
    str | None, QueryParameter(min_length=1, max_length=200, description="The id that the page ends before.")
]
LimitParameter = Annotated[
    int, QueryParameter(ge=1, le=100, description="How many objects to return, 1 to 100.")
]


_COLUMNS: Final = {
    "event_types": "type",
    "project_ids": "project_id",
    "actor_ids": "actor_key_id",
    "resource_ids": "object_id",
}


def provide_wanted(
    request: Request[Any, Any, Any],
    *,
    later_than: Annotated[int | None, _time("gt", "later than this")] = None,
    since: Annotated[int | None, _time("gte", "at this or later")] = None,
    earlier_than: Annotated[int | None, _time("lt", "earlier than this")] = None,
    until: Annotated[int | None, _time("lte", "at this or earlier")] = None,
    event_types: Values = None,
    project_ids: Values = None,
    actor_ids: Values = None,
    resource_ids: Values = None,
    limit: LimitParameter = DEFAULT_LIMIT,
    after: AfterParameter = None,
    before: BeforeParameter = None,
) -> Wanted:
    """Read what is asked for: the dependency `wanted`."""
    times = {"gt": later_than, "gte": since, "lt": earlier_than, "lte": until}
    asked = {
        "event_types": event_types,
        "project_ids": project_ids,
        "actor_ids": actor_ids,
        "resource_ids": resource_ids,
    }
    lists = {_COLUMNS[name]: values for name, values in join_lists(request, asked).items()}
    return Wanted(limit, after, before, times, lists)


class AuditActor(BaseModel):
    """Who did it: an API key, a person on a page (`session`), or the system itself."""

    type: Literal["api_key", "session", "system"]
    api_key: dict[str, Any] | None = None
    session: dict[str, Any] | None = None
    organization_id: str | None
    operator: bool
    ip_address: str | None


class AuditLog(BaseModel):
    """One administrative change. What it was lies under its `type`: the object's id, `data` or `before` and
    `changes_requested`."""

    id: str
    object: Literal["organization.audit_log"] = "organization.audit_log"
    type: str
    effective_at: int
    project: dict[str, str] | None
    actor: AuditActor
    organization_id: str | None
    request_id: str | None


class AuditLogList(BaseModel):
    """A page of the audit log, newest first."""

    object: Literal["list"] = "list"
    data: list[AuditLog]
    first_id: str | None
    last_id: str | None
    has_more: bool


class AuditLogsController(Controller):
    """Who changed what."""

    path = "/v1/organization/audit_logs"
    tags = ["organization"]
    opt = requires(Scope.ORGANIZATION)
    dependencies = {"wanted": Provide(provide_wanted, sync_to_thread=False)}

    @get(operation_class=documented(answer=AuditLogList), summary="List audit logs")
    async def list_audit_logs(
        self,
        principal: NamedDependency[Principal],
        audit: NamedDependency[AuditService],
        wanted: NamedDependency[Wanted],
    ) -> dict[str, Any]:
        """List administrative changes of the caller's organization, newest first; to an operator those of all."""
        return listed(await audit.list(principal, wanted))
