"""/v1/webhook_endpoints as the stock SDK manages them, with their deliveries; /v1/webhook_event_types."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from pydantic import BaseModel

from gateway.http.auth import requires
from gateway.http.body import read_body
from gateway.http.openapi import documented
from gateway.http.pagination import PAGE, PageRequest, listed
from gateway.idempotency.service import Answer, Claim, Idempotency, claim_of
from gateway.keys.forms import parse
from gateway.principal import Principal, Scope
from gateway.settings import Limits
from gateway.webhooks import view
from gateway.webhooks.event import EVENT_TYPES
from gateway.webhooks.forms import EndpointChanges, EndpointForm, NoFields, RotateForm, SendTestForm
from gateway.webhooks.service import WebhookService
from gateway.webhooks.store import PageQuery

F = TypeVar("F", bound=BaseModel)
Json = dict[str, Any]
AnyRequest = Request[Principal, Any, Any]
EndpointId = Annotated[
    str, PathParameter(description="The endpoint's id, or \"default\" for each request's own webhook_url.")
]
DeliveryId = Annotated[str, PathParameter(description="The delivery's id.")]

_LIMITS: Final = Limits(json_bytes=64 * 1024)


async def _accept(
    request: AnyRequest,
    idempotency: Idempotency,
    form_type: type[F],
    action: Callable[[F, Claim | None], Awaitable[Json]],
) -> Json:
    """Read the body as `form_type` and carry out `action`, once per Idempotency-Key."""
    async with read_body(request, _LIMITS, Path(), max_files=0) as body:  # no files, so nothing goes to disk
        form = parse(form_type, body.fields)
    key = request.headers.get("idempotency-key")
    claim = claim_of(request.user.project_id, request.method, request.url.path, key, body.hash)

    async def carry_out() -> Answer:
        return 200, await action(form, claim)

    _, answer = await idempotency.run(claim, carry_out)
    return answer


def _query(page: PageRequest) -> PageQuery:
    return PageQuery(page.limit, page.after, page.descending)


class WebhookEndpointsController(Controller):
    """Where a project wants to be told."""

    path = "/v1/webhook_endpoints"
    tags = ["webhooks"]
    opt = requires(Scope.WEBHOOKS)
    dependencies = PAGE

    @post(
        status_code=200,
        operation_class=documented(body=EndpointForm, answer=view.WebhookEndpointWithSecret),
        summary="Create a webhook endpoint",
    )
    async def create_endpoint(
        self,
        request: AnyRequest,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Register an address. Its signing secret is shown here and after a rotation, nowhere else."""
        project = principal.project_id
        answer = await _accept(
            request, idempotency, EndpointForm, lambda form, claim: webhooks.create(project, form, claim)
        )
        return await webhooks.with_secret(project, answer)

    @get(operation_class=documented(answer=view.WebhookEndpointList), summary="List webhook endpoints")
    async def list_endpoints(
        self,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
        page: NamedDependency[PageRequest],
    ) -> Json:
        """List the project's endpoints, newest first."""
        return listed(await webhooks.list_endpoints(principal.project_id, _query(page)))

    @get(
        "/{endpoint_id:str}",
        operation_class=documented(answer=view.WebhookEndpoint),
        summary="Retrieve a webhook endpoint",
    )
    async def retrieve_endpoint(
        self,
        endpoint_id: EndpointId,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
    ) -> Json:
        """Show one endpoint, with a hint of its secret."""
        return await webhooks.retrieve(principal.project_id, endpoint_id)

    @post(
        "/{endpoint_id:str}",
        status_code=200,
        operation_class=documented(body=EndpointChanges, answer=view.WebhookEndpoint),
        summary="Modify a webhook endpoint",
    )
    async def modify_endpoint(
        self,
        request: AnyRequest,
        endpoint_id: EndpointId,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Change the fields that are sent. Waiting deliveries go to the new address."""
        return await _accept(
            request,
            idempotency,
            EndpointChanges,
            lambda changes, claim: webhooks.update(principal.project_id, endpoint_id, changes, claim),
        )

    @delete(
        "/{endpoint_id:str}",
        status_code=200,
        operation_class=documented(answer=view.DeletedWebhookEndpoint),
        summary="Delete a webhook endpoint",
    )
    async def delete_endpoint(
        self,
        endpoint_id: EndpointId,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
    ) -> Json:
        """Remove an endpoint; nothing more is sent to it."""
        return await webhooks.delete(principal.project_id, endpoint_id)

    @post(
        "/{endpoint_id:str}/rotate_secret",
        status_code=200,
        operation_class=documented(body=RotateForm, answer=view.WebhookEndpointWithSecret),
        summary="Rotate a signing secret",
    )
    async def rotate_secret(
        self,
        request: AnyRequest,
        endpoint_id: EndpointId,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Make a new secret; keep_old_secret_active_for_24_hours signs with both for a day."""
        project = principal.project_id

        async def rotate(form: RotateForm, claim: Claim | None) -> Json:
            keep = form.keep_old_secret_active_for_24_hours
            return await webhooks.rotate_secret(project, endpoint_id, keep_old=keep, claim=claim)

        return await webhooks.with_secret(project, await _accept(request, idempotency, RotateForm, rotate))

    @post(
        "/{endpoint_id:str}/test",
        status_code=200,
        operation_class=documented(body=SendTestForm, answer=view.WebhookEndpointTest),
        summary="Send a test event",
    )
    async def send_test(
        self,
        request: AnyRequest,
        endpoint_id: EndpointId,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Send a sample event now and report the receiver's HTTP status."""
        return await _accept(
            request,
            idempotency,
            SendTestForm,
            lambda form, claim: webhooks.send_test(principal.project_id, endpoint_id, form.event_type, claim),
        )

    @get(
        "/{endpoint_id:str}/deliveries",
        operation_class=documented(answer=view.WebhookDeliveryList),
        summary="List deliveries",
    )
    async def list_deliveries(
        self,
        endpoint_id: EndpointId,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
        page: NamedDependency[PageRequest],
    ) -> Json:
        """List what was or will be sent to an endpoint, newest first; finished ones stay 30 days."""
        return listed(await webhooks.list_deliveries(principal.project_id, endpoint_id, _query(page)))

    @post(
        "/{endpoint_id:str}/deliveries/{delivery_id:str}/redeliver",
        status_code=200,
        operation_class=documented(answer=view.WebhookDelivery),
        summary="Redeliver an event",
    )
    async def redeliver(
        self,
        request: AnyRequest,
        *,
        endpoint_id: EndpointId,
        delivery_id: DeliveryId,
        principal: NamedDependency[Principal],
        webhooks: NamedDependency[WebhookService],
        idempotency: NamedDependency[Idempotency],
    ) -> Json:
        """Send an event again, under the same event id."""
        return await _accept(
            request,
            idempotency,
            NoFields,
            lambda _form, claim: webhooks.redeliver(principal.project_id, endpoint_id, delivery_id, claim),
        )


class WebhookEventTypesController(Controller):
    """What an endpoint can subscribe to."""

    path = "/v1/webhook_event_types"
    tags = ["webhooks"]
    opt = requires(Scope.WEBHOOKS)

    @get(operation_class=documented(answer=view.WebhookEventTypeList), summary="List webhook event types")
    async def list_event_types(self) -> Json:
        """List the event types there are."""
        return {"object": "list", "data": list(EVENT_TYPES)}


CONTROLLERS: Final = (WebhookEndpointsController, WebhookEventTypesController)
