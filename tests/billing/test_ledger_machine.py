"""Any order of grants, top-ups, reversals, expiries, holds, captures and releases, against a model in plain integers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import create_engine, insert, select

from billing.ledger import (
    BudgetExceeded,
    Hold,
    InsufficientCredit,
    LedgerConflict,
    Spender,
    Suspended,
    capture,
    hold_many,
    open_balance,
    release,
)
from billing.ledger_moves import adjust, credit, restore, reverse, top_up
from billing.lots import expire_credits, grant_credit
from billing.tables import balances, budget_periods, budgets, credit_lots, lines, metadata
from billing.verify import verify

AMOUNTS = st.integers(0, 1000)
SPENDER = Spender("proj", "key", "user")
BUDGET = 5000


@dataclass
class Lot:
    left: int
    expires_at: int


@dataclass
class Open:
    """A hold as the model sees it: what it took of each lot, and of paid credit."""

    amount: int
    paid: int
    lots: dict[str, int] = field(default_factory=dict)


class LedgerMachine(RuleBasedStateMachine):
    """One prepaid organization with a budget; time only moves forward."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        engine = create_engine("sqlite://")
        metadata.create_all(engine)
        self.conn = engine.connect()
        open_balance(self.conn, "org", "prepaid")
        self.conn.execute(
            insert(budgets).values(
                id="b", organization_id="org", scope="user", scope_id="user", period="month", unit="usd",
                amount=BUDGET, hard=True, created_at=0,
            )
        )  # fmt: skip
        self.now = 1
        self.paid = self.receivable = self.revenue = self.budget = self.count = 0
        self.suspended = False
        self.lots: dict[str, Lot] = {}
        self.open: dict[str, Open] = {}

    def name(self) -> str:
        self.count += 1
        return f"s{self.count}"

    def common(self, subject: str, amount: int) -> dict[str, object]:
        return {
            "subject": subject,
            "organization_id": "org",
            "amount_micros": amount,
            "memo": "",
            "now": self.now,
        }

    def living(self) -> Iterator[tuple[str, Lot]]:
        ordered = sorted(self.lots.items(), key=lambda each: (each[1].expires_at, each[0]))
        return ((name, lot) for name, lot in ordered if lot.expires_at > self.now)

    @rule(by=st.integers(1, 50))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(amount=AMOUNTS)
    def operator_gives(self, amount: int) -> None:
        subject = self.name()
        credit(self.conn, **self.common(subject, amount))  # type: ignore[arg-type]
        with pytest.raises(LedgerConflict):
            credit(self.conn, **self.common(subject, amount))  # type: ignore[arg-type]
        self.received(amount)

    @rule(amount=st.integers(-500, 500))
    def operator_corrects(self, amount: int) -> None:
        if self.paid + amount < 0:
            with pytest.raises(LedgerConflict):
                adjust(self.conn, **self.common(self.name(), amount))  # type: ignore[arg-type]
        else:
            adjust(self.conn, **self.common(self.name(), amount))  # type: ignore[arg-type]
            self.paid += amount

    @rule(amount=AMOUNTS)
    def customer_pays(self, amount: int) -> None:
        subject = self.name()
        top_up(self.conn, **self.common(subject, amount))  # type: ignore[arg-type]
        with pytest.raises(LedgerConflict):
            top_up(self.conn, **self.common(subject, amount))  # type: ignore[arg-type]
        self.received(amount)

    def received(self, amount: int) -> None:
        """What is owed is paid first."""
        owed = min(amount, self.receivable)
        self.suspended = self.suspended and not (owed and owed == self.receivable)
        self.receivable -= owed
        self.paid += amount - owed

    @rule(amount=AMOUNTS)
    def payment_is_taken_back(self, amount: int) -> None:
        reverse(self.conn, **self.common(self.name(), amount))  # type: ignore[arg-type]
        there = min(amount, self.paid)
        self.paid -= there
        self.receivable += amount - there
        self.suspended = self.suspended or there < amount

    @precondition(lambda self: self.suspended)
    @rule()
    def operator_restores(self) -> None:
        restore(self.conn, "org", "receivable")
        self.suspended = False

    @rule(amount=st.integers(1, 1000), lifetime=st.integers(1, 100))
    def gift(self, amount: int, lifetime: int) -> None:
        subject = self.name()
        grant_credit(self.conn, **self.common(subject, amount), expires_at=self.now + lifetime)  # type: ignore[arg-type]
        self.lots[subject] = Lot(amount, self.now + lifetime)

    @rule()
    def gifts_end(self) -> None:
        over = [lot for lot in self.lots.values() if lot.expires_at <= self.now and lot.left]
        assert expire_credits(self.conn, self.now) == len(over)
        for lot in over:
            lot.left = 0

    @rule(target=holds, amounts=st.lists(st.integers(0, 600), min_size=1, max_size=4))
    def take(self, amounts: list[int]) -> list[Hold]:
        wanted = [Hold(self.name(), "org", amount, self.now, 1000, SPENDER) for amount in amounts]
        for item, refused in zip(wanted, hold_many(self.conn, wanted), strict=True):
            assert type(refused) is self.expected(item.amount_micros)
            if refused is None:
                self.taken(item)
        return wanted

    def expected(self, amount: int) -> type:
        if self.suspended:
            return Suspended
        if amount > self.paid + sum(lot.left for _, lot in self.living()):
            return InsufficientCredit
        return BudgetExceeded if self.budget + amount > BUDGET else type(None)

    def taken(self, item: Hold) -> None:
        wanted, found = item.amount_micros, Open(item.amount_micros, 0)
        for name, lot in self.living():
            part = min(wanted, lot.left)
            if part:
                lot.left -= part
                wanted -= part
                found.lots[name] = part
        found.paid = wanted
        self.paid -= wanted
        self.budget += item.amount_micros
        self.open[item.subject] = found

    @rule(items=holds, share=st.floats(0, 1))
    def charge(self, items: list[Hold], share: float) -> None:
        for item in items:
            amount = int(item.amount_micros * share)
            if item.subject in self.open:
                capture(self.conn, item, amount, self.now)
                self.settled(item.subject, amount)
                self.revenue += amount
            else:
                with pytest.raises(LedgerConflict):
                    capture(self.conn, item, amount, self.now)

    @rule(items=holds)
    def give_back(self, items: list[Hold]) -> None:
        for item in items:
            if item.subject in self.open:
                release(self.conn, item, self.now)
                self.settled(item.subject, 0)
            else:
                with pytest.raises(LedgerConflict):
                    release(self.conn, item, self.now)

    def settled(self, subject: str, charged: int) -> None:
        """What was given is used up first; what is left goes back where it was."""
        found = self.open.pop(subject)
        self.budget += charged - found.amount
        for name, part in sorted(
            found.lots.items(), key=lambda each: (self.lots[each[0]].expires_at, each[0])
        ):
            used = min(charged, part)
            charged -= used
            self.lots[name].left += part - used
        self.paid += found.paid - charged

    @invariant()
    def the_books_are_right(self) -> None:
        row = self.conn.execute(select(balances)).one()
        assert (row.available, row.held) == (self.paid, sum(each.amount for each in self.open.values()))
        assert (row.receivable, row.suspended is not None) == (self.receivable, self.suspended)
        assert row.promotional == sum(lot.left for lot in self.lots.values())
        found = {lot.id: lot.remaining for lot in self.conn.execute(select(credit_lots))}
        assert found == {name: lot.left for name, lot in self.lots.items()}
        assert self.conn.execute(select(budget_periods.c.used)).scalar() in (self.budget, None)
        assert row.available >= 0
        earned = self.conn.execute(select(lines.c.amount).where(lines.c.account == "revenue")).scalars()
        assert sum(earned) == self.revenue
        assert verify(self.conn) == []

    def teardown(self) -> None:
        self.conn.close()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
