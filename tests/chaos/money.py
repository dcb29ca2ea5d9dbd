"""The organization of a crash run has exactly the credit that its videos hold; and what must be true of it afterwards."""

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import Connection, func, select

from billing.tables import balances, budget_periods, budgets, entries, lines
from gateway.jobs.tables import attempts
from gateway.videos.tables import videos

ORGANIZATION: Final = "org_default"
HELD: Final = 400_000
"""Micro-USD that every video of a run holds: 4 s, at 0.10 USD or at 1.25 times 0.08 USD."""

PLAN: Final = """
[[plans]]
id = "chaos"
margin = "1.25"
cancel_fee_usd = "0.05"
"""


def write_config(path: Path, upstreams: dict[str, str], cap: int) -> None:
    """The configuration of a run: an upstream per submit safety, and a plan with a margin and a fee."""
    path.write_text(PLAN + "".join(_upstream(safety, url, cap) for safety, url in upstreams.items()))


def _upstream(safety: str, base_url: str, cap: int) -> str:
    """One has no price of its own: what its upstream reports is charged, with the margin, and that is below the hold."""
    price = "" if safety == "lookup" else 'price_per_second_usd = "0.10"'
    return f"""
[[upstreams]]
name = "{safety}"
base_url = "{base_url}"
api_key = "secret"
max_concurrent = {cap}
[[upstreams.models]]
id = "acme/{safety}"
{price}
upstream_cost_per_second_usd = "0.08"
submit_safety = "{safety}"
"""


async def prepare(client: httpx.AsyncClient, url: str, many: int, most: int) -> None:
    """Prepaid, a plan, credit for `many` videos, hard budgets for `most`."""
    terms = {"plan": "chaos", "billing_mode": "prepaid"}
    await _post(client, f"{url}/v1/organizations/{ORGANIZATION}", terms)
    for limit in ({"amount_usd": _usd(most)}, {"seconds": str(4 * most), "period": "month"}):
        await _post(client, f"{url}/v1/billing/budgets", {"period": "day", **limit})
    await grant(client, url, many, "first")


async def grant(client: httpx.AsyncClient, url: str, many: int, name: str) -> None:
    """Credit for `many` videos, not a micro-USD more: a part of it is promotional, in lots of odd sizes."""
    path = f"{url}/v1/billing/credits"
    promotional = many // 2
    lots = [promotional // 3, promotional // 5]
    ends = 4_000_000_000
    for n, part in enumerate(lots):
        body = {"amount_usd": _usd(part), "reason": "promotion", "expires_at": ends + n}
        await _post(client, path, body, f"{name}-lot-{n}")
    await _post(client, path, {"amount_usd": _usd(many - sum(lots)), "reason": "paid"}, f"{name}-paid")


async def _post(client: httpx.AsyncClient, url: str, body: dict[str, Any], key: str = "") -> None:
    """Under a key it is sent until it is answered: another process may hold the balance and stand still."""
    while True:
        try:
            answer = await client.post(url, json=body, headers={"Idempotency-Key": key} if key else {})
        except httpx.HTTPError:
            if not key:
                raise
            continue
        if not key or answer.status_code not in (409, 503):
            answer.raise_for_status()
            return
        await asyncio.sleep(0.1)


def _usd(many: int) -> str:
    return f"{many * HELD / 1_000_000:.6f}"


def money_problems(conn: Connection, organization: str = ORGANIZATION) -> list[str]:
    """Nothing is held, every micro-USD is where the videos say, budgets count what was charged."""
    of = videos.c.organization_id == organization
    charged = int(conn.scalar(select(func.coalesce(func.sum(videos.c.cost_micros), 0)).where(of)) or 0)
    made_ms = int(conn.scalar(select(func.coalesce(func.sum(videos.c.billed_ms), 0)).where(of)) or 0)
    given = conn.scalar(
        select(func.coalesce(func.sum(lines.c.amount), 0))
        .join(entries, entries.c.id == lines.c.entry_id)
        .where(
            entries.c.organization_id == organization,
            entries.c.kind.in_(("credit", "grant")),
            lines.c.account.in_(("customer", "promotional")),
        )
    )
    row = conn.execute(select(balances).where(balances.c.organization_id == organization)).one()
    problems = []
    if row.held:
        problems.append(f"{row.held} micro-USD of {organization} are still held")
    if row.available + row.promotional + row.held != int(given or 0) - charged:
        problems.append(
            f"{organization} was given {given} and charged {charged}, "
            f"{row.available} and {row.promotional} are left"
        )
    used = select(budgets.c.unit, func.coalesce(func.sum(budget_periods.c.used), 0))
    for unit, total in conn.execute(
        used.outerjoin(budget_periods, budget_periods.c.budget_id == budgets.c.id)
        .where(budgets.c.organization_id == organization)
        .group_by(budgets.c.unit)
    ):
        want = charged if unit == "usd" else made_ms
        if int(total) != want:
            problems.append(f"the budget of {organization} in {unit} counts {total}, the videos {want}")
    return problems


def costless(conn: Connection) -> list[str]:
    """Every attempt that was completed has an upstream cost."""
    query = select(func.count()).where(attempts.c.state == "completed", attempts.c.cost_micros.is_(None))
    count = conn.scalar(query)
    return [f"{count} attempts that were completed have no upstream cost"] if count else []
