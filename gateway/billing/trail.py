"""The money of one video: every entry of the ledger about it, and what Stripe was told."""

from typing import Any

from sqlalchemy import Connection, select

from billing.ledger_costs import KIND as COST
from billing.money import format_usd
from billing.stripe_tables import meter_events
from billing.tables import entries, lines
from gateway.billing.view import public_entry
from gateway.db import Database
from gateway.principal import Principal, Scope

Json = dict[str, Any]


class MoneyTrail:
    """Reads for the caller's organization."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, principal: Principal, video_id: str) -> list[Json]:
        """List the entries about a video in order, each with its `meter_event` or None; an operator sees costs too."""
        principal.require(Scope.BILLING_READ)
        organization_id, costs = principal.organization_id, Scope.OPERATOR in principal.scopes
        return await self._db.read(lambda conn: _trail(conn, organization_id, video_id, costs=costs))


def _trail(conn: Connection, organization_id: str, video_id: str, *, costs: bool) -> list[Json]:
    about = select(entries).where(entries.c.subject == video_id, entries.c.organization_id == organization_id)
    rows = conn.execute(
        (about if costs else about.where(entries.c.kind != COST)).order_by(entries.c.created_at, entries.c.id)
    ).all()
    ids = [row.id for row in rows]
    found: dict[str, list[tuple[str, int]]] = {each: [] for each in ids}
    for line in conn.execute(select(lines).where(lines.c.entry_id.in_(ids)).order_by(lines.c.account)):
        found[line.entry_id].append((line.account, line.amount))
    metered = {
        row.id: {"state": row.state, "amount_usd": format_usd(row.value), "sent_at": _seconds(row.sent_at)}
        for row in conn.execute(select(meter_events).where(meter_events.c.id.in_(ids)))
    }
    return [{**public_entry(row, found[row.id]), "meter_event": metered.get(row.id)} for row in rows]


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
