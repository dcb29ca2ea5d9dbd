"""/models: what can be made here, with what, for how much, and whether it works right now."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.dashboard.model_search import ABILITIES, SORTS, UNITS, Looked, card, found, standing_of
from gateway.dashboard.page import Pages
from gateway.dashboard.prompts import example_of
from gateway.dashboard.snippets import snippets
from gateway.http.models import aliases, allowed, public_model, retrieved
from gateway.members.sessions import Visitor
from gateway.settings import Settings
from gateway.upstreams.service import UpstreamService
from gateway.videos.routing import Catalogue, Model
from providers.contract import MediaRole

AnyRequest = Request[Any, Any, Any]
_ON_A_PAGE: Final = 48
_IMAGE: Final = {"image_url": "https://example.com/first-frame.png"}


class ModelsPages(Controller):
    """The catalogue for everybody who is signed in."""

    path = "/models"

    @get()
    async def models(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        catalogue: NamedDependency[Catalogue],
        upstreams: NamedDependency[UpstreamService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """List the models that fit what the form says."""
        said = {name: value for name, value in request.query_params.items() if value}
        standings, margin = upstreams.standings(), visitor.principal.margin
        known = allowed(visitor.principal, catalogue)
        kept = found(known, _looked(said), standings, margin)
        start = _number(said.pop("from", ""))
        begin = int(start) if start is not None and start < len(kept) else 0
        shown = kept[begin : begin + _ON_A_PAGE]
        onward = begin + _ON_A_PAGE
        return pages.show(
            request,
            "models/models.html",
            cards=[card(model, standings, margin) for model in shown],
            retiring={model.id for model in shown if catalogue.warnings(model)},
            count=len(kept),
            known=len(known),
            begin=begin,
            next=f"/models?{urlencode({**said, 'from': onward})}" if onward < len(kept) else None,
            said=said,
            abilities=[("", "Anything"), *((name, label) for name, (label, _) in ABILITIES.items())],
            sorts=list(SORTS.items()),
        )

    @get("/{model:path}")
    async def model(
        self,
        *,
        request: AnyRequest,
        model: FromPath[str],
        visitor: NamedDependency[Visitor],
        catalogue: NamedDependency[Catalogue],
        settings: NamedDependency[Settings],
        upstreams: NamedDependency[UpstreamService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show everything about one."""
        one = retrieved(str(model).removeprefix("/"), visitor.principal, catalogue)
        names = aliases(catalogue, settings).get(one.id, [])
        standings = upstreams.standings()
        return pages.show(
            request,
            "models/model.html",
            model=public_model(one, names, visitor.principal.margin),
            standing=standing_of(one, standings),
            routes=_routes(one, standings) if visitor.operator else [],
            retiring=catalogue.warnings(one),
            units=UNITS,
            billing=visitor.principal.billing_mode,
            programs=snippets(pages.base_url(request), _example(one)).labelled(),
        )


def _looked(said: dict[str, Any]) -> Looked:
    """Read the form; what makes no sense is as good as empty."""
    return Looked(
        words=tuple(said.get("q", "").lower().split()[:16]),
        can=said.get("can", "") if said.get("can") in ABILITIES else "",
        seconds=_number(said.get("seconds", "")),
        up_to=_number(said.get("up_to", "")),
        priced=said.get("priced") == "true",
        available=said.get("available") == "true",
        sort=said.get("sort", ""),
    )


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text[:20])
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None


def _routes(model: Model, standings: Any) -> list[dict[str, Any]]:
    return [
        {
            "upstream": route.upstream.name,
            "type": route.upstream.type,
            "model": route.spec.upstream_id,
            "standing": standings.get(route.upstream.name, "away"),
            "priority": route.priority,
        }
        for route in model.routes
    ]


def _example(model: Model) -> dict[str, Any]:
    spec = model.routes[0].spec
    fields: dict[str, Any] = {"model": model.id, "prompt": example_of(model)}
    if spec.sizes and spec.seconds:
        fields |= {"seconds": f"{spec.seconds_when_omitted:f}", "size": spec.size_when_omitted}
    if MediaRole.FIRST_FRAME in spec.required_roles:
        fields["input_reference"] = _IMAGE
    if MediaRole.REFERENCE in spec.required_roles:
        fields["reference_images"] = [_IMAGE]
    return fields
