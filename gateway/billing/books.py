"""The books of one organization as people read them: entries by kind, what was available after each, a file of all."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, func, select, tuple_

from billing.budgets import period_start
from billing.ledger_costs import KIND
from billing.money import format_usd
from billing.tables import balances, entries, lines
from gateway.billing import store
from gateway.billing.view import LEDGER_COLUMNS, ledger_lines, public_budget, public_entry, public_lot
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.keys.store import PageQuery
from gateway.principal import Principal, Scope
from gateway.usage.view import csv_text

Json = dict[str, Any]
COST: Final = KIND
KINDS: Final = (*store.COMMON_KINDS, *store.RARE_KINDS)
"""Every kind of entry; `cost` is the operator's business."""

_FILE_ENTRIES: Final = 500
"""How many entries of a file are read at once."""
_MOST_COUNTED: Final = 5000
"""Entries back to which the available credit after each is worked out."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of public objects, and whether more follow."""

    data: list[Json]
    has_more: bool


class Books:
    """Reads for the caller's organization."""

    def __init__(self, db: Database, clock: Clock, *, most_counted: int = _MOST_COUNTED) -> None:
        self._db = db
        self._clock = clock
        self._most_counted = most_counted

    async def page(self, principal: Principal, page: PageQuery, kinds: Sequence[str] = ()) -> Page:
        """List entries. BadRequest for an unknown cursor or kind."""
        rows, more = await self._entries(principal, page, kinds)
        return Page([public_entry(entry, lines) for entry, lines in rows], more)

    async def statement(self, principal: Principal, page: PageQuery, kinds: Sequence[str] = ()) -> Page:
        """List entries with `available_after`: the credit that was there after each; None far in the past."""
        found = await self.page(principal, page, kinds)
        organization_id, most = principal.organization_id, self._most_counted
        ids = [entry["id"] for entry in found.data]
        after = await self._db.read(lambda conn: _available_after(conn, organization_id, ids, most))
        data = [{**entry, "available_after": after.get(entry["id"])} for entry in found.data]
        return Page(data, found.has_more)

    async def csv(
        self, principal: Principal, after: str | None = None, *, descending: bool, kinds: Sequence[str] = ()
    ) -> AsyncIterator[str]:
        """Every entry behind `after` as CSV, read as fast as it is taken. BadRequest for an unknown `after` or kind."""
        page = PageQuery(_FILE_ENTRIES, after, descending)
        first = await self._entries(principal, page, kinds)  # what is wrong is told before the file begins

        async def file() -> AsyncIterator[str]:
            yield csv_text([LEDGER_COLUMNS])
            rows, more = first
            while rows:
                yield csv_text(ledger_lines(rows))
                if not more:
                    return
                rows, more = await self._entries(principal, replace(page, after=rows[-1][0].id), kinds)

        return file()

    async def lots(self, principal: Principal) -> list[Json]:
        """List credit that ends and is not used up, the one that ends first before the others."""
        organization_id, now = principal.organization_id, self._clock.now_ms()
        rows = await self._db.read(lambda conn: store.open_lots(conn, organization_id, now))
        return [public_lot(row) for row in rows]

    async def topped_up(self, principal: Principal, since: int) -> bool:
        """Tell whether a payment has arrived since a moment in Unix seconds."""
        organization_id = principal.organization_id
        return await self._db.read(lambda conn: store.topped_up(conn, organization_id, since * 1000))

    async def plan_use(self, principal: Principal) -> Json:
        """Count what the plan limits: videos that run, and those of this UTC month that started in the fast queue."""
        organization_id, month = principal.organization_id, period_start("month", self._clock.now_ms())
        running, accepted = await self._db.read(lambda conn: store.plan_use(conn, organization_id, month))
        fast = principal.plan.fast_videos_per_month
        return {"running_videos": running, "fast_videos": accepted if fast is None else min(accepted, fast)}

    async def budgets_of(
        self, principal: Principal, scope: str, scope_ids: Sequence[str]
    ) -> dict[str, list[Json]]:
        """Find the budgets of keys, projects or users with what is used of them now, by whose they are."""
        if not scope_ids:
            return {}
        organization_id, now = principal.organization_id, self._clock.now_ms()

        def read(conn: Connection) -> dict[str, list[Json]]:
            rows = store.budgets_of(conn, organization_id, scope, scope_ids)
            used = store.used(conn, rows, now)
            found: dict[str, list[Json]] = {}
            for row in rows:
                found.setdefault(row.scope_id, []).append(public_budget(row, *used[row.id]))
            return found

        return await self._db.read(read)

    async def _entries(
        self, principal: Principal, page: PageQuery, kinds: Sequence[str]
    ) -> tuple[store.EntryRows, bool]:
        organization_id, costs = principal.organization_id, Scope.OPERATOR in principal.scopes
        for kind in kinds:
            if kind not in KINDS or (kind == COST and not costs):
                raise BadRequest(f"No entry is of the kind '{kind[:40]}'.", param="kind")
        return await self._db.read(
            lambda conn: store.ledger_page(conn, organization_id, page, costs=costs, kinds=kinds)
        )


def _available_after(conn: Connection, organization_id: str, ids: Sequence[str], most: int) -> dict[str, str]:
    """Count back from today's balance to the oldest of `ids`, one statement long so that nothing moves meanwhile."""
    if not ids:
        return {}
    place = tuple_(entries.c.created_at, entries.c.id)
    oldest = conn.execute(
        select(entries.c.created_at, entries.c.id)
        .where(entries.c.organization_id == organization_id, entries.c.id.in_(ids))
        .order_by(entries.c.created_at, entries.c.id)
        .limit(1)
    ).one()
    newer = (
        select(entries.c.id, entries.c.created_at)
        .where(
            entries.c.organization_id == organization_id,
            place >= tuple_(oldest.created_at, oldest.id),
        )
        .order_by(entries.c.created_at.desc(), entries.c.id.desc())
        .limit(most)
        .subquery()
    )
    mine = lines.c.entry_id == newer.c.id, lines.c.account.in_(("customer", "promotional"))
    amount = select(func.coalesce(func.sum(lines.c.amount), 0)).where(*mine).scalar_subquery()
    today = (
        select(balances.c.available + balances.c.promotional)
        .where(balances.c.organization_id == organization_id)
        .scalar_subquery()
    )
    moved = conn.execute(
        select(newer.c.id, amount.label("amount"), today.label("today")).order_by(
            newer.c.created_at.desc(), newer.c.id.desc()
        )
    ).all()
    wanted, found = set(ids), {}
    left = int(moved[0].today) if moved else 0
    for row in moved:
        if row.id in wanted:
            found[row.id] = format_usd(left)
        left -= int(row.amount)
    return found
