"""/operator/reconciliation: what customers were charged beside what upstreams say they take."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from gateway.dashboard.dates import DAY_SECONDS, day_end, day_of, day_start
from gateway.dashboard.page import Pages
from gateway.errors import BadRequest
from gateway.http.auth import requires
from gateway.http.csv_answer import csv_answer
from gateway.principal import Scope
from gateway.usage.query import Asked
from gateway.usage.reconciliation import Reconciliation
from gateway.usage.view import csv_text

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
_DAYS: Final = 7
_MOST_DAYS: Final = 31
_MOST_VIDEOS: Final = 100
_MONEY: Final = ("charged", "quoted", "estimated", "reported", "difference")
_COLUMNS: Final = (
    "id",
    "organization_id",
    "project_id",
    "model",
    "upstream",
    "status",
    "completed_at",
    *_MONEY,
)


class ReconciliationPages(Controller):
    """Our books against the upstreams' bills."""

    path = "/operator/reconciliation"
    opt = requires(Scope.OPERATOR)

    @get()
    async def compare(
        self,
        request: AnyRequest,
        reconciliation: NamedDependency[Reconciliation],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show days, and the videos that cost something else than was expected."""
        first, last = _range(request)
        asked = Asked(first, last, limit=_MOST_DAYS)
        days = json.loads(await reconciliation.days(asked))["data"]
        page = request.query_params.get("page") or None
        odd = json.loads(
            await reconciliation.videos(Asked(first, last, limit=_MOST_VIDEOS, page=page), different=True)
        )
        return pages.show(
            request,
            "operator/reconciliation.html",
            days=[{"start": day["start_time"], **each} for day in days for each in day["results"]],
            odd=odd["data"],
            more=odd["next_page"],
            first=day_of(first),
            last=day_of(last - 1),
        )

    @get("/videos.csv")
    async def videos_csv(
        self, request: AnyRequest, reconciliation: NamedDependency[Reconciliation]
    ) -> Response[Any]:
        """Send every video of the days as a file."""
        first, last = _range(request)
        return csv_answer(_lines(reconciliation, first, last), "reconciliation")


def _range(request: AnyRequest) -> tuple[int, int]:
    """From the start of a day up to the end of another, in Unix seconds; a week where nothing is said."""
    given = request.query_params
    now = int(datetime.now(UTC).timestamp())
    last = (
        day_end(given["to"], "to") + 1 if given.get("to") else now // DAY_SECONDS * DAY_SECONDS + DAY_SECONDS
    )
    first = day_start(given["from"], "from") if given.get("from") else last - _DAYS * DAY_SECONDS
    if not 0 < last - first <= _MOST_DAYS * DAY_SECONDS:
        raise BadRequest(f"Choose 1 to {_MOST_DAYS} days.", param="from")
    return max(0, first), last


async def _lines(reconciliation: Reconciliation, first: int, last: int) -> AsyncIterator[str]:
    yield csv_text([_COLUMNS])
    page: str | None = None
    while True:
        found: Json = json.loads(await reconciliation.videos(Asked(first, last, limit=1000, page=page)))
        yield csv_text([[each[name] for name in _COLUMNS] for each in found["data"]])
        page = found["next_page"]
        if page is None:
            return
