"""Stripe's webhooks repeated, out of order and cut off by kill -9 between every two statements of the inbox."""

import asyncio
import contextlib
import random
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select

from billing.stripe_tables import events
from billing.tables import balances, entries
from gateway.billing.audit import audit
from gateway.billing.reconcile import reconcile
from gateway.billing.stripe_account import Account
from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.settings import Settings
from tests.billing.stripe_double import API_KEY, EVENT_NAME, SECRET, StripeDouble, stripe_double
from tests.billing.stripe_shop import settings_of
from tests.chaos.doomed import ORGANIZATION, Doomed, places
from tests.chaos.statements import Ruins
from tests.server import upstream_table

CENT: Final = 10_000
PAID: Final = 2_500
REFUNDED: Final = 700
DISPUTED: Final = 900
"""Of every payment, in cents."""
DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Story:
    """Which event is cut off, and which of the same payment came before it. The others come later, or never first."""

    victim: str
    before: tuple[str, ...] = ()


STORIES: Final = {
    "paid": Story("payment_intent.succeeded"),
    "paid, told by the session": Story("checkout.session.completed"),
    "refunded": Story("refund.created", ("payment_intent.succeeded",)),
    "refunded before it was paid": Story("payment_intent.succeeded", ("refund.created",)),
    "the sum of refunds": Story("charge.refunded", ("checkout.session.completed",)),
    "disputed": Story("charge.dispute.created", ("payment_intent.succeeded", "charge.refunded")),
}


@dataclass
class Payment:
    """One top-up that was paid, in part refunded and in part disputed; and all that Stripe has to say of it."""

    intent: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def event(self, kind: str) -> dict[str, Any]:
        return next(each for each in self.events if each["type"] == kind)


def crash(story: Story, url: str, folder: Path, seed: int = 1) -> Ruins:
    """Kill once at every place of the transaction that takes the victim in, with a payment of its own for each."""
    started = time.monotonic()
    with stripe_double() as double:
        stripe = {
            "ONEREEL_STRIPE__API_KEY": API_KEY,
            "ONEREEL_STRIPE__WEBHOOK_SECRET": SECRET,
            "ONEREEL_STRIPE__API_BASE": double.base_url,
            "ONEREEL_STRIPE__SUCCESS_URL": "https://shop.example/paid",
        }
        with Doomed(url, folder, upstream_table("http://127.0.0.1:9/v1"), stripe) as server:
            run = _Run(server, double, story, random.Random(seed))
            run.prepare()
            hit = places(run.kill)
            run.recover()
            problems = asyncio.run(run.problems())
    return Ruins(story.victim, hit, problems, time.monotonic() - started)


class _Run:
    def __init__(self, server: Doomed, double: StripeDouble, story: Story, chance: random.Random) -> None:
        self.server = server
        self.double = double
        self.story = story
        self.chance = chance
        self.payments: list[Payment] = []

    def prepare(self) -> None:
        self.server.start_aimed()
        terms = {"billing_mode": "prepaid"}
        self.server.call("POST", f"/v1/organizations/{ORGANIZATION}", terms)
        self.payments.append(self._pay())
        self.server.end()

    def kill(self, where: str) -> str:
        """Cut off one delivery. What got no answer from the process before comes again first."""
        *told, payment = self.payments
        victim = payment.event(self.story.victim)
        self.server.start_aimed(f"receive:{where}:{victim['id']}")
        if told:
            self._deliver_again(told[-1].events)
        self.payments.append(self._pay())
        for kind in self.story.before:
            self._deliver(payment.event(kind))
        with contextlib.suppress(OSError, HTTPException):
            self._deliver(victim)
            raise RuntimeError("the victim was answered")
        return self.server.died()

    def recover(self) -> None:
        """Everything once more, and once more again, in any order."""
        self.server.start_aimed()
        self._deliver_again([event for payment in self.payments for event in payment.events])
        self.server.end()

    def _pay(self) -> Payment:
        """A customer pays at Stripe; nobody here has heard of it yet."""
        world = self.double.world
        session = self.server.call("POST", "/v1/billing/checkout", {"amount_usd": f"{PAID / 100:.2f}"})
        heard = len(world.events)
        intent = str(world.pay(str(session["id"]))["id"])
        world.refund(intent, REFUNDED)
        world.dispute(intent, DISPUTED)
        return Payment(intent, world.events[heard:])

    def _deliver_again(self, chosen: list[dict[str, Any]]) -> None:
        twice = chosen * 2
        self.chance.shuffle(twice)
        for event in twice:
            self._deliver(event)

    def _deliver(self, event: dict[str, Any]) -> None:
        body, signature = self.double.signed(event)
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        url = f"{self.server.api_url}/billing/stripe/webhook"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            answer.read()

    async def problems(self) -> list[str]:
        """What reconcile finds, and every number."""
        clock = Clock()
        database = open_database(Settings(database_url=self.server.url, data_dir=self.server.data_dir), clock)
        account = Account(database, clock, settings_of(self.double))
        try:
            now = clock.now_ms() + 2000
            since = now - now % DAY_MS - DAY_MS
            different = await reconcile(
                database, account.stripe, meter_event_name=EVENT_NAME, since=since, now=now
            )
            return [str(each) for each in different] + await database.read(self._books)
        finally:
            await account.close()
            await database.close()

    def _books(self, conn: Connection) -> list[str]:
        many = len(self.payments)
        row = conn.execute(select(balances).where(balances.c.organization_id == ORGANIZATION)).one()
        kinds = Counter((each.kind, each.subject.partition(".")[0]) for each in conn.execute(select(entries)))
        credited = {intent for kind, intent in kinds if kind == "top_up"}
        expected = {
            "paid credit": (row.available, many * (PAID - REFUNDED - DISPUTED) * CENT),
            "receivable": (row.receivable, 0),
            "credited": (credited, {payment.intent for payment in self.payments}),
            "credited twice": ([key for key, n in kinds.items() if key[0] == "top_up" and n > 1], []),
            "events": (
                dict(Counter(conn.scalars(select(events.c.state)))),
                {"handled": sum(len(payment.events) for payment in self.payments)},
            ),
        }
        wrong = [f"{name}: {found}, not {want}" for name, (found, want) in expected.items() if found != want]
        return audit(conn) + wrong
