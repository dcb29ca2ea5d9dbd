"""/v1/upstreams: the operator's accounts at providers."""

from typing import Annotated, Final

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter

from gateway.http.accept import ACCEPT, Accept, Json
from gateway.http.auth import requires
from gateway.http.openapi import documented
from gateway.keys.forms import NoFields
from gateway.principal import Scope
from gateway.upstreams import view
from gateway.upstreams.forms import CredentialForm, PauseForm, UpstreamChanges, UpstreamForm
from gateway.upstreams.service import UpstreamService

Upstreams = NamedDependency[UpstreamService]
Name = Annotated[str, PathParameter(description="The upstream's name.", max_length=100)]

_SHOWN: Final = documented(answer=view.Upstream)
_CHECKED: Final = documented(answer=view.UpstreamCheckList)


class UpstreamsController(Controller):
    """Add, change, pause, check and remove upstreams while the server runs."""

    path = "/v1/upstreams"
    tags = ["upstreams"]
    opt = requires(Scope.OPERATOR)
    dependencies = ACCEPT

    @get(operation_class=documented(answer=view.UpstreamList), summary="List upstreams")
    async def list_upstreams(self, upstreams: Upstreams) -> Json:
        """List every upstream, those of the configuration included, with its standing."""
        return await upstreams.list()

    @post(
        status_code=200,
        operation_class=documented(body=UpstreamForm, answer=view.Upstream),
        summary="Add an upstream",
    )
    async def create_upstream(self, upstreams: Upstreams, accept: NamedDependency[Accept]) -> Json:
        """Offer the models of an account. Holds within a second in every process."""
        return await accept(UpstreamForm, upstreams.create)

    @post("/check", status_code=200, operation_class=_CHECKED, summary="Check every upstream")
    async def check_upstreams(self, upstreams: Upstreams) -> Json:
        """Ask each upstream something that costs nothing."""
        return await upstreams.check()

    @get("/{name:str}", operation_class=_SHOWN, summary="Retrieve an upstream")
    async def retrieve_upstream(self, name: Name, upstreams: Upstreams) -> Json:
        """Show one upstream."""
        return await upstreams.get(name)

    @post(
        "/{name:str}",
        status_code=200,
        operation_class=documented(body=UpstreamChanges, answer=view.Upstream),
        summary="Modify an upstream",
    )
    async def modify_upstream(
        self, name: Name, upstreams: Upstreams, accept: NamedDependency[Accept]
    ) -> Json:
        """Change the fields that are sent of a stored upstream; null takes one back."""
        return await accept(UpstreamChanges, lambda form, claim: upstreams.update(name, form, claim))

    @delete(
        "/{name:str}",
        status_code=200,
        operation_class=documented(answer=view.DeletedUpstream),
        summary="Remove an upstream",
    )
    async def remove_upstream(self, name: Name, upstreams: Upstreams) -> Json:
        """Send nothing new there; the videos it has begun are still fetched."""
        return await upstreams.remove(name)

    @post(
        "/{name:str}/rotate",
        status_code=200,
        operation_class=documented(body=CredentialForm, answer=view.Upstream),
        summary="Rotate a credential",
    )
    async def rotate_credential(
        self, name: Name, upstreams: Upstreams, accept: NamedDependency[Accept]
    ) -> Json:
        """Use a new credential from now on; videos that run are fetched with the one they began with."""
        return await accept(CredentialForm, lambda form, claim: upstreams.rotate(name, form, claim))

    @post(
        "/{name:str}/pause",
        status_code=200,
        operation_class=documented(body=PauseForm, answer=view.Upstream),
        summary="Pause an upstream",
    )
    async def pause_upstream(self, name: Name, upstreams: Upstreams, accept: NamedDependency[Accept]) -> Json:
        """Send nothing new there until it is resumed."""
        return await accept(PauseForm, lambda form, claim: upstreams.pause(name, form, claim))

    @post("/{name:str}/resume", status_code=200, operation_class=_SHOWN, summary="Resume an upstream")
    async def resume_upstream(
        self, name: Name, upstreams: Upstreams, accept: NamedDependency[Accept]
    ) -> Json:
        """Send videos there again: ends a pause, whoever made it, and closes the breaker."""
        return await accept(NoFields, lambda _form, claim: upstreams.resume(name, claim))

    @post("/{name:str}/check", status_code=200, operation_class=_CHECKED, summary="Check an upstream")
    async def check_upstream(self, name: Name, upstreams: Upstreams) -> Json:
        """Ask it something that costs nothing."""
        return await upstreams.check(name)
