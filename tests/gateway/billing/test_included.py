"""Credit that comes with the month and goes at its end, however many processes look after it."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from billing.plans import Plan
from billing.tables import balances, credit_lots
from billing.verify import verify
from gateway.background import running
from gateway.billing.included import CreditUpkeep
from gateway.clock import Clock
from gateway.db import Database
from gateway.keys.forms import OrganizationForm
from gateway.keys.service import KeyService, operator_principal
from gateway.settings import Settings

SETTINGS = Settings(plans=(Plan(id="gift", included_monthly_usd="2.00"),))


class Calendar:
    """A wall clock that the test turns on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def next_month(self, clock: Clock) -> None:
        now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
        first = now.replace(
            year=now.year + now.month // 12,
            month=now.month % 12 + 1,
            day=1,
            hour=0,
            minute=0,
            second=0,
            microsecond=0,
        )
        self.ahead += (first - now).total_seconds() + 1


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def clock(calendar: Calendar) -> Clock:
    return Clock(monotonic=calendar.monotonic)


async def organization(db: Database, clock: Clock, plan: str) -> str:
    keys = KeyService(db, clock, SETTINGS)
    await keys.bootstrap()
    made = await keys.create_organization(operator_principal(), OrganizationForm(name="studio", plan=plan))
    return str(made["id"])


async def promotional(db: Database, organization_id: str) -> int:
    query = select(balances.c.promotional).where(balances.c.organization_id == organization_id)
    return int(await db.read(lambda conn: conn.execute(query).scalar_one()))


async def test_included_credit_ends_with_its_month_and_comes_again(
    db: Database, clock: Clock, calendar: Calendar
) -> None:
    mine, other = await organization(db, clock, "gift"), await organization(db, clock, "unlimited")
    for _ in range(3):
        await asyncio.gather(*[CreditUpkeep(db, clock, SETTINGS).once() for _ in range(3)])
        assert (await promotional(db, mine), await promotional(db, other)) == (2_000_000, 0)
        calendar.next_month(clock)
    lots = await db.read(lambda conn: list(conn.scalars(select(credit_lots.c.remaining))))
    assert sorted(lots) == [0, 0, 2_000_000]
    assert await db.read(verify) == []


async def test_it_runs_beside_the_requests(db: Database, clock: Clock) -> None:
    mine = await organization(db, clock, "gift")
    await db.write(lambda conn: conn.execute(update(credit_lots).values(expires_at=1)))
    async with running(CreditUpkeep(db, clock, SETTINGS)), asyncio.timeout(10):
        while await promotional(db, mine):  # what came with the beginning has ended
            await asyncio.sleep(0.02)
