"""/docs: the first video from a program, errors and webhooks, with the reader's own address and key."""

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency

from gateway.dashboard.error_codes import FAILED, GROUPS
from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages
from gateway.dashboard.prompts import EXAMPLE, example_of
from gateway.dashboard.snippets import KEY_VARIABLE, snippets
from gateway.errors import ApiError
from gateway.http.auth import requires
from gateway.keys.forms import KeyForm, parse
from gateway.keys.service import KeyService
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.videos.routing import Catalogue
from gateway.webhooks.event import EVENT_TYPES

AnyRequest = Request[Any, Any, Any]
_EVENTS: Final = {
    "video.completed": "The video is there; data.id is its id.",
    "video.failed": "It failed; GET /v1/videos/{id} tells why.",
    "budget.threshold_reached": "A budget is used up to a share that you are told of.",
}
_RECEIVE_PYTHON: Final = """import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])  # whsec_...


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_response(400)
        else:
            print(event["type"], event["data"])
            self.send_response(200)
        self.end_headers()


HTTPServer(("127.0.0.1", 9000), Receiver).serve_forever()"""
_RECEIVE_NODE: Final = """import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET); // whsec_...

createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  try {
    const event = webhook.verify(body, request.headers);
    console.log(event.type, event.data);
    response.writeHead(200).end();
  } catch {
    response.writeHead(400).end();
  }
}).listen(9000, "127.0.0.1");"""


class DocsPages(Controller):
    """Open to everybody."""

    path = "/docs"
    opt = {"open": True}

    @get()
    async def quickstart(
        self,
        request: AnyRequest,
        catalogue: NamedDependency[Catalogue],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show the first video in three languages."""
        return _quickstart(request, catalogue, pages)

    @post("/key", status_code=200, opt={"open": False, **requires(Scope.VIDEOS_WRITE)})
    async def key(
        self,
        *,
        request: AnyRequest,
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
        catalogue: NamedDependency[Catalogue],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Make a key and write it into the programs of this one answer."""
        made = await keys.create_key(
            visitor.principal, visitor.project_id, parse(KeyForm, {"name": "Quickstart"})
        )
        return _quickstart(request, catalogue, pages, key=made["value"])

    @get("/errors", sync_to_thread=False)
    def errors(self, request: AnyRequest, pages: NamedDependency[Pages]) -> Response[str]:
        """List every code."""
        return pages.show(request, "docs/errors.html", groups=GROUPS, failed=FAILED)

    @get("/webhooks", sync_to_thread=False)
    def webhooks(self, request: AnyRequest, pages: NamedDependency[Pages]) -> Response[str]:
        """Tell how events are received and proven."""
        return pages.show(
            request,
            "docs/webhooks.html",
            events=[(event, _EVENTS[event]) for event in EVENT_TYPES],
            programs=[("python", "Python", _RECEIVE_PYTHON), ("node", "Node", _RECEIVE_NODE)],
        )


def _quickstart(
    request: AnyRequest, catalogue: Catalogue, pages: Pages, *, key: str | None = None
) -> Response[str]:
    base_url = pages.base_url(request)
    model, prompt = _first(catalogue)
    fields = {"prompt": prompt} if model is None else {"model": model, "prompt": prompt}
    return pages.show(
        request,
        "docs/quickstart.html",
        key=key,
        variable=KEY_VARIABLE,
        model=model,
        programs=snippets(base_url, fields, key=key).labelled(),
    )


def _first(catalogue: Catalogue) -> tuple[str | None, str]:
    """The model that a request without one gets, and a prompt that it can draw."""
    try:
        model = catalogue.resolve(None)
    except ApiError:
        return None, EXAMPLE
    return model.id, example_of(model)
