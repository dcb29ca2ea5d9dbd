"""/operator/workers, /queue and /unknown: what runs, what waits, and what somebody has to decide."""

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing.money import parse_usd
from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.errors import BadRequest
from gateway.http.auth import requires
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.upstreams.service import UpstreamService
from gateway.upstreams.unresolved import Unresolved
from gateway.upstreams.work import Work

AnyRequest = Request[Any, Any, Any]
_UNKNOWN: Final = "/operator/unknown"


class WorkPages(Controller):
    """Operators' pages over every organization."""

    path = "/operator"
    opt = requires(Scope.OPERATOR)

    @get("/workers")
    async def workers_page(
        self,
        request: AnyRequest,
        work: NamedDependency[Work],
        upstreams: NamedDependency[UpstreamService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Ask every worker what it does now."""
        states = {
            server["name"]: server["models"] or {}
            for each in (await upstreams.list())["data"]
            for server in each["servers"]
        }
        return pages.show(request, "operator/workers.html", workers=await work.workers(), states=states)

    @get("/queue")
    async def queue_page(
        self, request: AnyRequest, work: NamedDependency[Work], pages: NamedDependency[Pages]
    ) -> Response[str]:
        """Show what waits and what runs."""
        return pages.show(request, "operator/queue.html", queue=await work.queue())

    @get("/unknown")
    async def unknown_page(
        self, request: AnyRequest, unresolved: NamedDependency[Unresolved], pages: NamedDependency[Pages]
    ) -> Response[str]:
        """Show what nobody knows the fate of, and what the operator was told."""
        resolved = request.query_params.get("show") == "resolved"
        return pages.show(
            request,
            "operator/unknown.html",
            unknown=await unresolved.unknown(),
            notices=await unresolved.notices(resolved=resolved),
            resolved=resolved,
        )

    @post("/unknown/{video_id:str}/end", status_code=303)
    async def end_now(
        self,
        video_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        unresolved: NamedDependency[Unresolved],
    ) -> Response[None]:
        """It was never made: give back what is held."""
        await unresolved.end_now(visitor.principal, video_id)
        return redirect(_UNKNOWN, done="The wait is over: what is held for it is given back now.")

    @post("/unknown/attempts/{attempt_id:str}/charged", status_code=303)
    async def charged(
        self,
        attempt_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        unresolved: NamedDependency[Unresolved],
    ) -> Response[None]:
        """Book what the provider took all the same."""
        try:
            micros = parse_usd(form.text("amount_usd") or "")
        except ValueError as error:
            raise BadRequest(f"'amount_usd' {error}.", param="amount_usd") from None
        if micros < 0:
            raise BadRequest("'amount_usd' must not be below 0.", param="amount_usd")
        await unresolved.charged(visitor.principal, attempt_id, micros)
        return redirect(_UNKNOWN, done="It is booked as our cost, and shows in the reconciliation.")

    @post("/notices/{notice_id:str}/resolve", status_code=303)
    async def resolve(
        self,
        notice_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        unresolved: NamedDependency[Unresolved],
    ) -> Response[None]:
        """Say what was done about a notice."""
        await unresolved.resolve(visitor.principal, notice_id, form.text("resolution") or "")
        return redirect(_UNKNOWN, done="Noted; it is under 'dealt with' now.")
