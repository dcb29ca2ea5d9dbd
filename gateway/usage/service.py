"""Usage and costs of the caller's organization: pages for programs, files for people."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial

from sqlalchemy import Connection, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.keys.tables import organizations, projects
from gateway.principal import Principal
from gateway.usage import focus, query, view
from gateway.usage.costs import cost_rows
from gateway.usage.query import COSTS, USAGE, Asked, UsageQuery
from gateway.usage.read import MOST_RESULTS, Buckets, ReadRows, Row, pieces, read_page, usage_rows

Lines = Callable[[UsageQuery, Iterable[Row]], Iterable[Sequence[object]]]


class UsageService:
    """Every read is scoped by the organization of the principal; the handler requires the scope."""

    def __init__(self, db: Database, clock: Clock, *, most_results: int = MOST_RESULTS) -> None:
        self._db = db
        self._clock = clock
        self._most = most_results

    async def usage_page(self, principal: Principal, asked: Asked) -> bytes:
        """One page of usage as JSON."""
        checked = query.parse(USAGE, asked, self._clock.now_ms())
        return view.page_json(checked, await self._page(principal, checked, usage_rows), view.usage_result)

    async def costs_page(self, principal: Principal, asked: Asked) -> bytes:
        """One page of costs as JSON."""
        checked = query.parse(COSTS, asked, self._clock.now_ms())
        return view.page_json(checked, await self._page(principal, checked, cost_rows), view.cost_result)

    async def _page(self, principal: Principal, checked: UsageQuery, read: ReadRows) -> Buckets:
        organization_id = principal.organization_id
        return await self._db.read(
            lambda conn: read_page(conn, organization_id, checked, read, most=self._most)
        )

    def usage_csv(self, principal: Principal, asked: Asked) -> AsyncIterator[str]:
        """The whole range as CSV, read as fast as it is taken."""
        checked = query.parse(USAGE, asked, self._clock.now_ms(), whole=True)
        return self._file(principal, checked, view.USAGE_COLUMNS, usage_rows, view.usage_lines)

    def costs_csv(self, principal: Principal, asked: Asked) -> AsyncIterator[str]:
        """The whole range as CSV."""
        checked = query.parse(COSTS, asked, self._clock.now_ms(), whole=True)
        return self._file(principal, checked, view.COST_COLUMNS, cost_rows, view.cost_lines)

    async def costs_focus(self, principal: Principal, asked: Asked) -> AsyncIterator[str]:
        """The whole range in the columns of FOCUS, by project, key and model. BadRequest for another grouping."""
        checked = query.parse(COSTS, asked, self._clock.now_ms(), whole=True)
        query.refuse_grouping(checked, "focus")
        account = await self._db.read(partial(_account, organization_id=principal.organization_id))

        def lines(asked_for: UsageQuery, rows: Iterable[Row]) -> Iterable[Sequence[object]]:
            return focus.focus_lines(asked_for, account, rows)

        return self._file(principal, checked.grouped(*focus.DIMENSIONS), focus.COLUMNS, cost_rows, lines)

    async def _file(
        self,
        principal: Principal,
        checked: UsageQuery,
        columns: Sequence[str],
        read: ReadRows,
        lines: Lines,
    ) -> AsyncIterator[str]:
        yield view.csv_text([columns])
        for start, end in pieces(checked):
            part = partial(
                read, organization_id=principal.organization_id, query=checked, start=start, end=end
            )
            rows = await self._db.read(part)
            if rows:
                yield view.csv_text(lines(checked, rows))


def _account(conn: Connection, organization_id: str) -> focus.Account:
    name = conn.execute(
        select(organizations.c.name).where(organizations.c.id == organization_id)
    ).scalar_one_or_none()
    rows = conn.execute(
        select(projects.c.id, projects.c.name).where(projects.c.organization_id == organization_id)
    )
    return focus.Account(organization_id, name or organization_id, {row.id: row.name for row in rows})
