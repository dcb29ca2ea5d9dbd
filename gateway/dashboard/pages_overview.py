"""/: what the organization spends, makes and waits for."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from billing.money import format_usd
from gateway.billing.service import BillingService
from gateway.dashboard import charts
from gateway.dashboard.dates import day_start
from gateway.dashboard.names import Names
from gateway.dashboard.page import Pages, usd
from gateway.http.auth import requires
from gateway.http.csv_answer import csv_answer
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.members.service import MemberService
from gateway.members.sessions import Sessions, Visitor
from gateway.principal import Scope
from gateway.usage.overview import DIMENSIONS, PERIODS, Overview, OverviewService, Totals
from gateway.usage.view import csv_text

AnyRequest = Request[Any, Any, Any]
_FILTERS: Final = {"project": "project_id", "model": "model", "key": "api_key_id"}
_WORDS: Final = {
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "12mo": "12 months",
}
_COLUMNS: Final = (
    "group",
    "name",
    "videos",
    "completed",
    "failed",
    "success_rate",
    "video_seconds",
    "spend_usd",
    "median_wait_seconds",
    "median_render_seconds",
    "p95_render_seconds",
)
_MOST_GROUPS: Final = 100


class OverviewPages(Controller):
    """The first page."""

    @get("/")
    async def overview(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        overviews: NamedDependency[OverviewService],
        billing: NamedDependency[BillingService],
        keys: NamedDependency[KeyService],
        members: NamedDependency[MemberService],
        sessions: NamedDependency[Sessions],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show a period, as the address says."""
        if not visitor.may(Scope.USAGE_READ):
            return pages.show(request, "overview/plain.html")
        asked = _asked(request)
        found = await _read(overviews, visitor, asked)
        names = await _named(found, Names(keys, members, visitor))
        budgets = []
        if visitor.may(Scope.BILLING_READ):
            budgets = (await billing.list_budgets(visitor.principal, PageQuery(6, None, True))).data
        return pages.show(
            request,
            "overview/overview.html",
            asked=asked,
            periods=[(name, _WORDS[name]) for name in PERIODS],
            dimensions=list(DIMENSIONS),
            found=found,
            groups=[
                (group, names.get(group.name or "", "none named")) for group in found.groups[:_MOST_GROUPS]
            ],
            hidden=max(0, len(found.groups) - _MOST_GROUPS),
            drawings=_drawings(found, names),
            changes=_changes(found),
            live=await overviews.live(visitor.principal),
            budgets=budgets,
            link=lambda **changes: "/?" + urlencode({**asked, **changes}),
            csv="/overview.csv?" + urlencode(asked),
            projects=[
                (place["project_id"], place["project_name"])
                for place in await sessions.places(visitor)
                if place["organization_id"] == visitor.organization_id
            ],
            format_usd=format_usd,
        )

    @get("/live", opt=requires(Scope.USAGE_READ))
    async def live(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        overviews: NamedDependency[OverviewService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show what is queued and running now: the one part of the page that follows by itself."""
        return pages.show(request, "overview/live.html", live=await overviews.live(visitor.principal))

    @get("/overview.csv", opt=requires(Scope.USAGE_READ))
    async def overview_csv(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        overviews: NamedDependency[OverviewService],
        keys: NamedDependency[KeyService],
        members: NamedDependency[MemberService],
    ) -> Response[Any]:
        """Send the table as a file."""
        found = await _read(overviews, visitor, _asked(request))
        names = await _named(found, Names(keys, members, visitor))
        return csv_answer(_lines(found, names), f"onereel-{found.dimension}")


def _asked(request: AnyRequest) -> dict[str, str]:
    given = request.query_params
    asked = {"period": given.get("period", "7d"), "by": given.get("by", "model")}
    for name in (*_FILTERS, "from", "to"):
        if value := given.get(name, "").strip()[:256]:
            asked[name] = value
    return asked


async def _read(overviews: OverviewService, visitor: Visitor, asked: Mapping[str, str]) -> Overview:
    filters = {column: asked[name] for name, column in _FILTERS.items() if name in asked}
    if "from" in asked or "to" in asked:
        last = day_start(asked["to"], "to") if "to" in asked else int(datetime.now(UTC).timestamp())
        first = day_start(asked["from"], "from") if "from" in asked else last
        span = overviews.between(first * 1000, last * 1000, filters)
    else:
        span = overviews.span(asked["period"], asked["by"], filters)
    return await overviews.overview(visitor.principal, span, asked["by"])


async def _named(found: Overview, names: Names) -> dict[str, str]:
    ids = [group.name for group in found.groups if group.name]
    return {each: each for each in ids} if found.dimension == "model" else await names.of(ids)


def _drawings(found: Overview, names: Mapping[str, str]) -> list[Any]:
    pattern = "%H:%M" if found.span.width == "1h" else "%d %b"
    labels = [f"{datetime.fromtimestamp(each / 1000, UTC):{pattern}}" for each in found.buckets]
    ids = [group.name for group in found.groups]
    told = {each: names.get(each or "", "none named") for each in ids}
    by_videos = [group.name for group in sorted(found.groups, key=lambda each: -each.videos)]

    def drawn(title: str, values: Mapping[str | None, Any], order: list[str | None], write: Any) -> Any:
        series = [charts.Series(told[each], values[each]) for each in order]
        return charts.bars(title, charts.top(series), labels, write)

    return [
        drawn("Spend", found.spend, ids, lambda value: usd(format_usd(round(value)))),
        drawn("Videos", found.videos, by_videos, lambda value: f"{value:g}"),
    ]


def _changes(found: Overview) -> dict[str, float | None]:
    """By how much a figure is above (or below) that of the period before, as a share; None where that was nothing."""
    now, then = found.total, found.before

    def change(new: float | None, old: float | None) -> float | None:
        return None if not old or new is None else new / old - 1

    return {
        "spend": change(now.revenue, then.revenue),
        "videos": change(now.videos, then.videos),
        "success": None if now.success is None or then.success is None else now.success - then.success,
        "waited": change(now.waited, then.waited),
        "rendered": change(now.rendered, then.rendered),
    }


async def _lines(found: Overview, names: Mapping[str, str]) -> AsyncIterator[str]:
    yield csv_text([_COLUMNS])
    yield csv_text([_line(group, names) for group in found.groups])


def _line(group: Totals, names: Mapping[str, str]) -> list[object]:
    success = None if group.success is None else round(group.success, 4)
    times = [
        None if each is None else round(each, 2)
        for each in (group.waited, group.rendered, group.rendered_p95)
    ]
    counts = [group.videos, group.completed, group.failed, success]
    seconds, spend = group.billed_ms / 1000, format_usd(group.revenue)
    return [group.name, names.get(group.name or ""), *counts, seconds, spend, *times]
