"""kill -9 between every two statements of the transaction that settles a video, and the books afterwards."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from billing import stripe_customers
from billing.rollups import DAYS
from billing.stripe_tables import meter_events
from billing.tables import balances, budget_periods, credit_lots
from billing.usage_tables import usage_rollups
from gateway.billing.audit import audit
from gateway.jobs.tables import attempts, jobs, outbox, slots
from gateway.videos.tables import videos
from providers.testing import FakeUpstream
from tests.chaos.doomed import ORGANIZATION, Doomed, places, private_hosts
from tests.chaos.receiver import Receiver

CREDIT: Final = 5_000_000
DEADLINE: Final = 0.6
SLOW: Final = 1.5
"""Seconds: how long a video may take, and how long a slow one takes."""
LOT: Final = 200_000
"""Half of what a video holds comes from promotional credit: every settlement has lots to end."""


@dataclass(frozen=True)
class Scenario:
    """How a video ends. Micro-USD: `charge` of its hold, `upstream` what the upstream takes."""

    what: str
    prompt: str
    state: str
    charge: int
    upstream: int
    model: str = "acme/fast"
    cancel: bool = False
    metered: bool = False
    """Postpaid and known to Stripe, without promotional credit: all that is charged goes on an invoice."""


SCENARIOS: Final = {
    # the upstream tells a lower cost than its prices: less is charged than was held, lots and budget get some back
    "completed": Scenario("complete", "", "completed", 125_000, 100_000),
    "failed": Scenario("fail", "[fault:failed]", "failed", 0, 0),
    # the plan's fee, noted for Stripe; the upstream is told to stop
    "cancelled": Scenario("fail", "[fault:slow]", "failed", 50_000, 0, cancel=True, metered=True),
    # the upstream goes on, is watched to its end, and takes its money
    "expired": Scenario("fail", "[fault:slow]", "failed", 0, 100_000, model="acme/late"),
}


@dataclass
class Ruins:
    """What a run found: the statements that kills fell on, and what was broken afterwards."""

    name: str
    hit: list[str]
    problems: list[str]
    seconds: float
    ids: list[str] = field(default_factory=list)


def fake_upstream() -> FakeUpstream:
    """The upstream of all scenarios, to be started."""
    return FakeUpstream(idempotency=True, poll_after_ms=50, cost_usd="0.10", slow_seconds=SLOW)


def config(upstream: FakeUpstream) -> str:
    return f"""
[[plans]]
id = "chaos"
concurrent_videos = 4
margin = "1.25"
cancel_fee_usd = "0.05"

[[upstreams]]
name = "acme"
base_url = "{upstream.base_url}"
api_key = "secret"
max_concurrent = 4
[[upstreams.models]]
id = "acme/fast"
upstream_cost_per_second_usd = "0.08"
submit_safety = "key"
[[upstreams.models]]
id = "acme/late"
upstream_cost_per_second_usd = "0.08"
submit_safety = "key"
deadline_seconds = {DEADLINE}
"""


def crash(scenario: Scenario, url: str, folder: Path, upstream: FakeUpstream) -> Ruins:
    """Kill once at every place of the transaction, with a video and a process of its own for each."""
    started = time.monotonic()
    upstream.reset()
    receiver = Receiver()
    hosts = {"ONEREEL_SECURITY__ALLOWED_PRIVATE_HOSTS": private_hosts(receiver.host)}
    try:
        with Doomed(url, folder, config(upstream), hosts) as server:
            run = _Run(server, scenario, receiver)
            run.prepare()
            hit = places(run.kill)
            run.recover()
            problems = asyncio.run(server.read(run.problems))
            problems += _receiver_problems(run.ids, scenario, receiver)
            if (made := upstream.stats()["jobs"]) != len(run.ids):
                problems.append(f"the upstream made {made} jobs for {len(run.ids)} videos")
    finally:
        receiver.close()
    return Ruins(scenario.what, hit, problems, time.monotonic() - started, run.ids)


class _Run:
    def __init__(self, server: Doomed, scenario: Scenario, receiver: Receiver) -> None:
        self.server = server
        self.scenario = scenario
        self.receiver = receiver
        self.ids: list[str] = []
        self.granted = 0

    def prepare(self) -> None:
        """Credit of both kinds, a plan, and budgets in money and in seconds."""
        server, call = self.server, self.server.call
        server.start_aimed()
        mode = "postpaid" if self.scenario.metered else "prepaid"
        call("POST", f"/v1/organizations/{ORGANIZATION}", {"plan": "chaos", "billing_mode": mode})
        call("POST", "/v1/billing/credits", {"amount_usd": f"{CREDIT / 1e6:.6f}", "reason": "paid"})
        call("POST", "/v1/billing/budgets", {"amount_usd": "50.00", "period": "month"})
        call("POST", "/v1/billing/budgets", {"seconds": "900", "period": "day"})
        if not self.scenario.metered:
            self._grant(LOT)
        else:
            server.end()
            asyncio.run(server.read(_customer, write=True))
            server.start_aimed()
        server.end()

    def kill(self, where: str) -> str:
        """One video, and the end of the process that settles it. What the process before it left is done first."""
        token = f"victim-{len(self.ids)}"
        self.server.start_aimed(f"{self.scenario.what}:{where}:{token}")
        self.await_last()
        self._create(token)
        return self.server.died()

    def recover(self) -> None:
        """A last process that nobody kills."""
        self.server.start_aimed()
        self.await_last()
        deadline = time.monotonic() + 30
        while asyncio.run(self.server.read(_busy)) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.server.end()

    def await_last(self) -> None:
        """Wait until the video that was being settled is."""
        deadline = time.monotonic() + 30
        while self.ids and self._video(self.ids[-1])["status"] != self.scenario.state:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.ids[-1]} is still {self._video(self.ids[-1])['status']}")
            time.sleep(0.03)

    def _create(self, token: str) -> None:
        if self.ids and self.scenario.charge and not self.scenario.metered:
            self._grant(self.scenario.charge)
        body = {
            "model": self.scenario.model,
            "prompt": f"{self.scenario.prompt} {token}",
            "size": "720x1280",
            "seconds": "4",
            "user": "someone",
            "webhook_url": f"http://{self.receiver.host}/hook",
        }
        video_id = str(self.server.call("POST", "/v1/videos", body)["id"])
        self.ids.append(video_id)
        if self.scenario.cancel:
            while self._video(video_id)["status"] != "in_progress":
                time.sleep(0.02)
            self.server.call("POST", f"/v1/videos/{video_id}/cancel")

    def _grant(self, micros: int) -> None:
        self.granted += micros
        ends = int(time.time()) + 86_400
        body = {"amount_usd": f"{micros / 1e6:.6f}", "reason": "promotion", "expires_at": ends}
        self.server.call("POST", "/v1/billing/credits", body)

    def _video(self, video_id: str) -> Any:
        return self.server.call("GET", f"/v1/videos/{video_id}")

    def problems(self, conn: Connection) -> list[str]:
        """Every number, to the last micro-USD."""
        many, scenario = len(self.ids), self.scenario
        row = conn.execute(select(balances).where(balances.c.organization_id == ORGANIZATION)).one()
        told = conn.execute(
            select(
                func.sum(usage_rollups.c.completed),
                func.sum(usage_rollups.c.failed),
                func.sum(usage_rollups.c.revenue),
                func.sum(usage_rollups.c.upstream_cost),
            ).where(usage_rollups.c.grain == DAYS)
        ).one()
        completed = many if scenario.state == "completed" else 0
        billed_ms = 4000 * completed
        charged = many * scenario.charge
        left = 0 if scenario.metered else self.granted - charged
        remaining = select(func.sum(credit_lots.c.remaining))
        used = select(budget_periods.c.used).where(budget_periods.c.budget_id.startswith("bud"))
        expected = {
            "paid credit": (row.available, CREDIT - (charged if scenario.metered else 0)),
            "promotional credit": (row.promotional, left),
            "lots": (conn.scalar(remaining) or 0, left),
            "held": (row.held, 0),
            "budgets": (sorted(conn.scalars(used)), sorted([charged, billed_ms])),
            "usage": (
                tuple(int(each) for each in told),
                (completed, many - completed, charged, many * scenario.upstream),
            ),
            "ends": (_ends(conn), {(scenario.state, scenario.charge): many}),
            "costs": (_costs(conn), {scenario.upstream: many}),
            "events": (_events(conn), {f"video.{scenario.state}": many}),
            "meter events": (_metered(conn), {scenario.charge: many} if scenario.metered else {}),
            "slots": (conn.scalar(select(func.sum(slots.c.used))), 0),
            "jobs": (conn.scalar(select(func.count()).select_from(jobs)), 0),
        }
        wrong = [f"{name}: {found}, not {want}" for name, (found, want) in expected.items() if found != want]
        return audit(conn) + wrong


def _customer(conn: Connection) -> None:
    """With a subscription: what it is charged is metered."""
    stripe_customers.reserve(conn, ORGANIZATION, "key", 1)
    stripe_customers.set_customer(conn, ORGANIZATION, "cus_1")
    stripe_customers.set_subscription(conn, ORGANIZATION, "sub_1", "active", 1)


def _ends(conn: Connection) -> dict[tuple[str, int], int]:
    return dict(Counter((row.state, row.cost_micros) for row in conn.execute(select(videos))))


def _costs(conn: Connection) -> dict[int, int]:
    return dict(Counter(row.cost_micros or 0 for row in conn.execute(select(attempts))))


def _events(conn: Connection) -> dict[str, int]:
    return dict(Counter(conn.scalars(select(outbox.c.event_type))))


def _metered(conn: Connection) -> dict[int, int]:
    return dict(Counter(conn.scalars(select(meter_events.c.value))))


def _busy(conn: Connection) -> bool:
    """Jobs (a watched upstream, perhaps) and client events that are still under way."""
    pending = select(func.count()).select_from(outbox).where(outbox.c.state == "pending")
    return bool(conn.scalar(select(func.count()).select_from(jobs)) or conn.scalar(pending))


def _receiver_problems(ids: list[str], scenario: Scenario, receiver: Receiver) -> list[str]:
    return [
        f"of {video_id} the client was told {sorted(receiver.types[video_id])} under {receiver.ids[video_id]}"
        for video_id in ids
        if receiver.types[video_id] != {f"video.{scenario.state}"} or len(receiver.ids[video_id]) != 1
    ]
