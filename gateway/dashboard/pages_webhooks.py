"""/webhooks: who is told of what happens in the present project, and what became of each delivery."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.http.auth import requires
from gateway.keys.forms import parse
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.webhooks.event import BUDGET_REACHED, EVENT_TYPES
from gateway.webhooks.forms import EndpointChanges, EndpointForm, RotateForm, SendTestForm
from gateway.webhooks.service import WebhookService
from gateway.webhooks.store import PageQuery
from gateway.webhooks.view import DEFAULT_ENDPOINT

AnyRequest = Request[Any, Any, Any]
_ENDPOINTS: Final = 100
_DELIVERIES: Final = 25
WORDS: Final[Mapping[str, str]] = {
    "video.completed": "A video is ready",
    "video.failed": "A video failed, was cancelled or expired",
    BUDGET_REACHED: "A budget reached 50, 80 or 100 %",
}
_OK: Final = range(200, 300)


class WebhooksPages(Controller):
    """Endpoints of the present project."""

    path = "/webhooks"
    opt = requires(Scope.WEBHOOKS)

    @get()
    async def webhooks_page(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List endpoints."""
        found = await webhooks.list_endpoints(visitor.project_id, PageQuery(_ENDPOINTS))
        return pages.show(
            request, "webhooks/webhooks.html", endpoints=found.data, words=WORDS, types=EVENT_TYPES
        )

    @post("/new", status_code=200)
    async def make(
        self,
        request: AnyRequest,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Register an address and show its secret this once."""
        made = await webhooks.create(visitor.project_id, parse(EndpointForm, form.fields))
        answer = await webhooks.with_secret(visitor.project_id, made)
        return pages.show(request, "webhooks/secret.html", endpoint=answer, rotated=False)

    @get("/{endpoint_id:str}")
    async def endpoint_page(
        self,
        *,
        request: AnyRequest,
        endpoint_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
        pages: NamedDependency[Pages],
        after: FromQuery[str | None] = None,
    ) -> Response[str]:
        """Show an endpoint with what was and will be sent to it."""
        project, page = visitor.project_id, PageQuery(_DELIVERIES, after or None)
        endpoint = await webhooks.retrieve(project, endpoint_id)
        found = await webhooks.list_deliveries(project, endpoint_id, page)
        older = f"/webhooks/{endpoint['id']}?after={quote(found.data[-1]['id'])}" if found.has_more else None
        return pages.show(
            request,
            "webhooks/endpoint.html",
            endpoint=endpoint,
            deliveries=found.data,
            next=older,
            newest=not after,
            words=WORDS,
            types=EVENT_TYPES,
            is_default=endpoint_id == DEFAULT_ENDPOINT,
        )

    @post("/{endpoint_id:str}", status_code=303)
    async def change(
        self,
        endpoint_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
    ) -> Response[None]:
        """Change name, address or events."""
        fields = {**form.fields, "event_types": form.texts("event_types")}
        await webhooks.update(visitor.project_id, endpoint_id, parse(EndpointChanges, fields))
        return redirect(f"/webhooks/{endpoint_id}", done="The endpoint was changed.")

    @post("/{endpoint_id:str}/delete", status_code=303)
    async def delete(
        self,
        endpoint_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
    ) -> Response[None]:
        """Send nothing more to an endpoint."""
        await webhooks.delete(visitor.project_id, endpoint_id)
        return redirect("/webhooks", done="The endpoint was deleted. Nothing more is sent to it.")

    @post("/{endpoint_id:str}/rotate", status_code=200)
    async def rotate(
        self,
        *,
        request: AnyRequest,
        endpoint_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Make a new secret and show it this once."""
        keep = parse(RotateForm, form.fields).keep_old_secret_active_for_24_hours
        made = await webhooks.rotate_secret(visitor.project_id, endpoint_id, keep_old=keep)
        answer = await webhooks.with_secret(visitor.project_id, made)
        return pages.show(request, "webhooks/secret.html", endpoint=answer, rotated=True, keep=keep)

    @post("/{endpoint_id:str}/test", status_code=303)
    async def send_test(
        self,
        endpoint_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
    ) -> Response[None]:
        """Send a sample event and say what the receiver answered."""
        event_type = parse(SendTestForm, form.fields).event_type
        answer = await webhooks.send_test(visitor.project_id, endpoint_id, event_type)
        status = answer["status_code"]
        verdict = "It was accepted." if status in _OK else "It was not accepted: onereel would try again."
        done = f"The endpoint answered the test with HTTP {status}. {verdict}"
        return redirect(f"/webhooks/{endpoint_id}", done=done)

    @post("/{endpoint_id:str}/deliveries/{delivery_id:str}/redeliver", status_code=303)
    async def redeliver(
        self,
        *,
        endpoint_id: FromPath[str],
        delivery_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
    ) -> Response[None]:
        """Send an event again."""
        await webhooks.redeliver(visitor.project_id, endpoint_id, delivery_id)
        return redirect(f"/webhooks/{endpoint_id}", done="The event is sent again, under the same id.")
