"""/operator/upstreams: the accounts at providers and our own workers, and the operator's hand on them."""

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.errors import BadRequest
from gateway.http.auth import requires
from gateway.keys.forms import parse
from gateway.principal import Scope
from gateway.upstreams.forms import CredentialForm, PauseForm, UpstreamChanges, UpstreamForm
from gateway.upstreams.service import UpstreamService
from providers.configured import known_types

AnyRequest = Request[Any, Any, Any]
_PLACE: Final = "/operator/upstreams"


class UpstreamsPages(Controller):
    """Where videos are made."""

    path = _PLACE
    opt = requires(Scope.OPERATOR)

    @get()
    async def upstreams_page(
        self,
        request: AnyRequest,
        upstreams: NamedDependency[UpstreamService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List them in order of preference."""
        found = await upstreams.list()
        types = [(each, each) for each in sorted(known_types())]
        return pages.show(request, "operator/upstreams.html", upstreams=found["data"], types=types, checks={})

    @post(status_code=303)
    async def add(
        self, form: NamedDependency[Form], upstreams: NamedDependency[UpstreamService]
    ) -> Response[None]:
        """Add one: its models are offered at once."""
        fields = dict(form.fields)
        if (models := form.text("models")) is not None:
            fields["models"] = _names(models)
        made = await upstreams.create(parse(UpstreamForm, fields))
        offered = len(made["models"])
        return redirect(_PLACE, done=f"'{made['name']}' is there, with {offered} models. Test it next.")

    @post("/check", status_code=200)
    async def check(
        self,
        request: AnyRequest,
        form: NamedDependency[Form],
        upstreams: NamedDependency[UpstreamService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Ask one, or all of them, something that costs nothing."""
        answers = (await upstreams.check(form.text("name")))["data"]
        found = await upstreams.list()
        types = [(each, each) for each in sorted(known_types())]
        return pages.show(
            request,
            "operator/upstreams.html",
            upstreams=found["data"],
            types=types,
            checks={each["name"].partition("@")[0]: each for each in answers},
        )

    @post("/{name:str}/pause", status_code=303)
    async def pause(
        self, name: FromPath[str], form: NamedDependency[Form], upstreams: NamedDependency[UpstreamService]
    ) -> Response[None]:
        """Send nothing new there."""
        await upstreams.pause(name, parse(PauseForm, {"reason": form.text("reason") or ""}))
        return redirect(_PLACE, done=f"'{name}' gets nothing new; what has begun is ended.")

    @post("/{name:str}/resume", status_code=303)
    async def resume(
        self,
        name: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        upstreams: NamedDependency[UpstreamService],
    ) -> Response[None]:
        """Send videos there again."""
        await upstreams.resume(name)
        return redirect(_PLACE, done=f"'{name}' takes videos again.")

    @post("/{name:str}/rotate", status_code=303)
    async def rotate(
        self, name: FromPath[str], form: NamedDependency[Form], upstreams: NamedDependency[UpstreamService]
    ) -> Response[None]:
        """Give it a new credential."""
        await upstreams.rotate(name, parse(CredentialForm, form.fields))
        return redirect(
            _PLACE, done=f"'{name}' has a new credential; what has begun is ended under the old one."
        )

    @post("/{name:str}/change", status_code=303)
    async def change(
        self, name: FromPath[str], form: NamedDependency[Form], upstreams: NamedDependency[UpstreamService]
    ) -> Response[None]:
        """Change its limits and its place; a field left empty goes back to the default."""
        fields: dict[str, Any] = {
            field: form.text(field)
            for field in ("priority", "weight", "max_concurrent", "requests_per_second", "polls_per_second")
        }
        await upstreams.update(name, parse(UpstreamChanges, fields))
        return redirect(_PLACE, done=f"'{name}' was changed.")

    @post("/{name:str}/remove", status_code=303)
    async def remove(
        self,
        name: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        upstreams: NamedDependency[UpstreamService],
    ) -> Response[None]:
        """Take it out."""
        gone = await upstreams.remove(name)
        return redirect(
            _PLACE, done=f"'{name}' is out; {gone['live_videos']} videos that it has begun are still fetched."
        )


def _names(text: str) -> list[str | dict[str, str]]:
    """Read "fast" as a model of the catalogue, "acme/fast = fast-1" as one of the operator's own server."""
    names: list[str | dict[str, str]] = []
    for line in filter(None, map(str.strip, text.replace(",", "\n").splitlines())):
        public, own, upstream = (part.strip() for part in line.partition("="))
        names.append({"id": public, "upstream_model": upstream} if own else public)
    if not names:
        raise BadRequest("Name the models, one a line, or leave the field empty for all.", param="models")
    return names
