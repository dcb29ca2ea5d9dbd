"""Credit that comes and goes by itself: what plans include each month, and lots whose time is over."""

import structlog
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from billing.budgets import period_end, period_start
from billing.entries import kinds_of
from billing.lots import expire_credits, grant_credit
from billing.money import to_micros
from billing.plans import Plan, Plans
from gateway.background import Polling
from gateway.clock import Clock
from gateway.db import Database
from gateway.keys.tables import organizations
from gateway.settings import Settings

log = structlog.get_logger(__name__)


def grant_included(conn: Connection, organization_id: str, plan: Plan, now: int) -> bool:
    """Give the plan's credit of this UTC month, once; True if it was given now."""
    amount = to_micros(plan.included_monthly_usd)
    start = period_start("month", now)
    month = start // 1000
    subject = f"inc_{month}_{organization_id}"[:64]
    if not amount or kinds_of(conn, [subject]):
        return False
    grant_credit(
        conn,
        subject=subject,
        organization_id=organization_id,
        amount_micros=amount,
        expires_at=period_end("month", start),
        memo=f"included in the plan '{plan.id}'",
        now=now,
    )
    return True


class CreditUpkeep(Polling):
    """Gives and ends credit in time. Any number of processes may run one."""

    def __init__(self, db: Database, clock: Clock, settings: Settings) -> None:
        super().__init__(settings.retention.sweep_seconds)
        self._db = db
        self._clock = clock
        self._plans = [plan for plan in Plans(settings.plans).all() if plan.included_monthly_usd]

    async def once(self) -> bool:
        """End what is over, give what is due; that is all for now."""
        now = self._clock.now_ms()
        while expired := await self._db.write(lambda conn: expire_credits(conn, now), background=True):
            log.info("credits_expired", lots=expired)
        for plan in self._plans:
            for organization_id in await self._db.read(lambda conn, plan=plan: _on_plan(conn, plan.id)):  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                await self._give(organization_id, plan, now)
        return False

    async def _give(self, organization_id: str, plan: Plan, now: int) -> None:
        try:
            given = await self._db.write(
                lambda conn: grant_included(conn, organization_id, plan, now), background=True
            )
        except IntegrityError:  # another process was first
            return
        if given:
            log.info("credit_included", organization_id=organization_id, plan=plan.id)


def _on_plan(conn: Connection, plan_id: str) -> list[str]:
    rows = conn.execute(select(organizations.c.id).where(organizations.c.plan == plan_id))
    return [str(row.id) for row in rows]
