"""Any order of create, cancel, delete, answers of upstreams, lost leases and money that comes and goes: nobody pays for
a video they did not get, but for a plan's cancel fee and a rejection's charge that was told beforehand."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import bindparam, delete, false, func, select, update

from billing.ledger import LedgerConflict
from billing.ledger_moves import adjust, credit, restore, reverse, top_up
from billing.lots import expire_credits, grant_credit
from billing.tables import balances, budget_periods, entries, lines
from gateway.billing.audit import audit
from gateway.errors import ApiError
from gateway.jobs import charges, completion, settle, slots, watch
from gateway.jobs.claims import LeaseLost
from gateway.jobs.completion import Completion, complete
from gateway.jobs.settle import Failure, StoredContent, fail
from gateway.jobs.tables import attempts, jobs
from gateway.jobs.tables import slots as slot_rows
from gateway.videos import removal
from gateway.videos.insert import insert_videos
from gateway.videos.states import LIVE, TERMINAL
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from providers.contract import ErrorKind
from tests.gateway.jobs.life import (
    ACME_SECOND,
    BETA_SECOND,
    BUDGET,
    CUSTOMERS,
    GAMMA_GPU_SECOND,
    GAMMA_MOST,
    LIMIT,
    Answers,
    Bench,
    Customer,
    Life,
)

ANSWERS = st.builds(
    Answers,
    submit=st.sampled_from(
        ["takes"] * 6
        + ["silence", "moderation_blocked", "invalid_request", "rate_limited"]
        + ["provider_unavailable", "provider_error", "provider_auth"]
    ),
    poll=st.sampled_from(
        ["completed"] * 5
        + ["running", "moderation_blocked", "provider_error", "job_lost", "cancelled"]
        + ["out_of_memory", "provider_unavailable", "unknown_state"]
    ),
    content=st.sampled_from(
        ["whole"] * 4 + ["short", "short", "broken", "content_expired", "provider_unavailable"]
    ),
    cancel=st.sampled_from(["stops", "silence"]),
    lookup=st.sampled_from(["found", "silence"]),
    gpu_seconds=st.sampled_from([None, "12.5", "99"]),
    meanwhile=st.sampled_from(["nothing"] * 3 + ["cancel", "delete", "usurped"]),
    moment=st.sampled_from(
        ["attempt.committed", "submit", "submit.answered", "poll", "content", "store.put", "settle.begin"]
    ),
)
CUSTOMER = st.sampled_from(CUSTOMERS)
BODIES = st.fixed_dictionaries(
    {
        "prompt": st.just("a cat"),
        "model": st.sampled_from(["acme/fast", "acme/fast", "beta/slow", "gamma/gpu"]),
        "seconds": st.sampled_from(["4", "8"]),
        "n": st.sampled_from([1, 1, 1, 2, 3]),
    }
)
REFUSALS = {"insufficient_quota", "organization_suspended"}
AUDIT_EVERY = 10
MOST_ALIVE = 5  # more than that only queue
FINAL = ("state", "cost_micros", "cost_status", "completed_at", "error_code", "hold_micros", "billed_ms")


@dataclass
class Asked:
    """A video as its customer knows it."""

    customer: Customer
    model: str
    seconds: int
    state: str = "queued"
    unwanted: bool = False  # cancelled or deleted while it lived
    surely: bool = False  # and that before the step began in which it ended
    ended: tuple[Any, ...] | None = None
    owed: int = 0


class LifeMachine(RuleBasedStateMachine):
    """Three customers, three upstreams, and the clock."""

    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(self.bench)
        self.life.meddle = self.meddle
        self.known: dict[str, Asked] = {}
        self.paid_in = {each.name: 0 for each in CUSTOMERS}
        self.count = 0
        self.looks = 0
        for each in CUSTOMERS[:2]:
            self.life.db.now(partial(credit, **self.common(each, 1_200_000)))
            self.paid_in[each.name] = 1_200_000

    def run(self, what: Any) -> Any:
        return self.bench.loop.run(what)

    def common(self, customer: Customer, amount: int) -> dict[str, Any]:
        self.count += 1
        return {
            "subject": f"act-{self.count}",
            "organization_id": customer.name,
            "amount_micros": amount,
            "memo": "",
            "now": self.life.clock.now_ms(),
        }

    def pick(self, number: int) -> tuple[str, Asked]:
        """One of the newest videos."""
        return list(self.known.items())[-1 - number % min(8, len(self.known))]

    # creates

    @precondition(lambda self: sum(each.ended is None for each in self.known.values()) < MOST_ALIVE)
    @rule(customer=CUSTOMER, bodies=st.lists(BODIES, min_size=1, max_size=2))
    def create(self, customer: Customer, bodies: list[dict[str, Any]]) -> None:
        plans = [self.run(self.life.plan(customer, body)) for body in bodies]
        answers = self.life.db.now(lambda conn: insert_videos(conn, plans))
        for body, planned, refused in zip(bodies, plans, answers, strict=True):
            if isinstance(refused, ApiError):
                assert refused.code in REFUSALS
                continue
            assert refused is None
            for row in planned.rows:
                self.known[row["id"]] = Asked(customer, body["model"], int(body["seconds"]))

    # what the customer does

    def meddle(self, what: str) -> None:
        """In the middle of a step, for the video that it is about."""
        self.unwant(what, self.life.steps[-1], before=False)

    def unwant(self, what: str, video_id: str, *, before: bool) -> None:
        project = f"proj-{self.known[video_id].customer.name}"
        query = select(videos.c.state, videos.c.deleted_at).where(videos.c.id == video_id)
        row = self.life.db.now(lambda conn: conn.execute(query).one())
        if what == "delete":
            self.life.db.now(lambda conn: removal.delete(conn, project, video_id))
        else:
            self.life.db.now(lambda conn: removal.cancel(conn, project, video_id))
        if row.state in LIVE:
            self.known[video_id].unwanted = True
            self.known[video_id].surely |= before

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 7), what=st.sampled_from(["cancel", "cancel", "delete"]))
    def customer_drops(self, number: int, what: str) -> None:
        self.unwant(what, self.pick(number)[0], before=True)

    # what upstreams do

    @precondition(lambda self: self.known)
    @rule(answers=st.lists(ANSWERS, min_size=1, max_size=12))
    def work(self, answers: list[Answers]) -> None:
        for each in answers:
            self.run(self.life.work(each))
            self.nobody_pays_for_what_they_did_not_get()

    @precondition(lambda self: self.known)
    @rule(answers=st.lists(ANSWERS, min_size=4, max_size=12))
    def work_on(self, answers: list[Answers]) -> None:
        """The same, for the lives in which hypothesis leaves `work` out."""
        self.work(answers)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 7), ran=st.lists(ANSWERS, min_size=1, max_size=3))
    def customer_drops_what_runs(self, number: int, ran: list[Answers]) -> None:
        self.work(ran)
        self.customer_drops(number, "cancel")
        self.work(ran)

    @rule(seconds=st.sampled_from([1, 30, 60, 300, 1900, 90_000]))
    def time_passes(self, seconds: int) -> None:
        """And gifts whose time is over end."""
        self.life.seconds += seconds
        self.life.db.now(lambda conn: expire_credits(conn, self.life.clock.now_ms()))

    @precondition(lambda self: self.life.leases)
    @rule(number=st.integers(0, 7), deliver=st.booleans())
    def a_stale_worker_settles(self, number: int, deliver: bool) -> None:
        """It held the job once, ended what it did long after, and must change nothing."""
        old = list(self.life.leases.values())
        job = old[-1 - number % len(old)]
        query = select(jobs.c.fence, jobs.c.lease_until).where(jobs.c.id == job.lease.job_id)
        row = self.life.db.now(lambda conn: conn.execute(query).first())
        if row is not None and row.fence == job.lease.fence:
            return  # nobody has claimed it since
        if deliver and job.lease.kind == "video":
            film = StoredContent("videos/x", "video/mp4", 1, "0" * 64, 64, 36, 8000)
            item = Completion(job.lease, job.rows, film, 1)
            (answer,) = self.life.db.now(lambda conn: complete(conn, [item]))
            assert isinstance(answer, LeaseLost)
        else:
            with pytest.raises(LeaseLost):
                self.life.db.now(lambda conn: fail(conn, job.lease, job.rows, Failure("expired", "Late.")))

    # money

    @rule(
        what=st.sampled_from(["credit", "gift", "top_up", "refund", "correction", "restore"]),
        customer=CUSTOMER,
        amount=st.integers(1, 900_000),
        hours=st.sampled_from([1, 24]),
    )
    def money(self, what: str, customer: Customer, amount: int, hours: int) -> None:
        if what == "restore":
            self.life.db.now(lambda conn: restore(conn, customer.name, "receivable"))
        elif what == "gift":
            ends = self.life.clock.now_ms() + hours * 3_600_000
            told = self.common(customer, amount)
            self.life.db.now(lambda conn: grant_credit(conn, **told, expires_at=ends))
        elif what == "correction":
            self.corrected(customer, 200_000 - amount)
        else:
            move = {"credit": credit, "top_up": top_up, "refund": reverse}[what]
            self.life.db.now(lambda conn: move(conn, **self.common(customer, amount)))
            self.paid_in[customer.name] += -amount if what == "refund" else amount

    def corrected(self, customer: Customer, amount: int) -> None:
        try:
            self.life.db.now(lambda conn: adjust(conn, **self.common(customer, amount)))
        except LedgerConflict:
            assert amount < 0
        else:
            self.paid_in[customer.name] += amount

    # what must hold

    @invariant()
    def it_holds(self) -> None:
        self.nobody_pays_for_what_they_did_not_get()
        self.nobody_has_less_than_nothing()
        self.looks += 1
        if self.looks % AUDIT_EVERY == 0:
            self.audited()

    def audited(self) -> None:
        """Now and then, and at the end: it looks at all that ever was, so what is wrong once stays to be seen."""
        assert self.life.db.now(audit) == []
        assert self.life.db.now(slots.verify) == []

    def nobody_pays_for_what_they_did_not_get(self) -> None:
        rows = self.life.db.now(lambda conn: list(conn.execute(select(videos))))
        assert {row.id for row in rows} == set(self.known)
        for row in rows:
            asked = self.known[row.id]
            told = tuple(getattr(row, name) for name in FINAL)
            if asked.ended is not None:
                assert told == asked.ended
            elif row.state in TERMINAL:
                asked.ended, asked.owed = told, self.owed(row, asked)
                assert row.cost_micros == asked.owed
            asked.state = row.state
        assert self.charged() == {video_id: each.owed for video_id, each in self.known.items() if each.owed}

    def charged(self) -> dict[str, int]:
        """By video, as the ledger says."""
        query = (
            select(entries.c.subject, func.sum(lines.c.amount))
            .join(lines, lines.c.entry_id == entries.c.id)
            .where(lines.c.account == "revenue")
            .group_by(entries.c.subject)
        )
        found = self.life.db.now(lambda conn: conn.execute(query).all())
        return {subject: int(amount) for subject, amount in found if amount}

    def owed(self, row: Any, asked: Asked) -> int:
        """What a video that has just ended may cost, by what was delivered and what was said."""
        query = select(attempts).where(attempts.c.video_id == row.id).order_by(attempts.c.n.desc())
        attempt = self.life.db.now(lambda conn: conn.execute(query).first())
        if row.state == "completed":
            assert not asked.unwanted
            self.was_delivered(row, attempt)
            price = self.price_of_delivered(attempt, asked)
            assert (row.cost_status, price <= row.hold_micros) == ("captured", True)
            return price
        fee = self.fee(row, attempt, asked)
        assert row.cost_status == ("captured" if fee else "released")
        assert fee <= row.hold_micros
        return fee

    def was_delivered(self, row: Any, attempt: Any) -> None:
        made = self.bench.clips[self.life.made[attempt.id]]
        assert row.content_sha256 == hashlib.sha256(made).hexdigest()
        assert (self.bench.folder / "storage" / row.content_key).read_bytes() == made

    def price_of_delivered(self, attempt: Any, asked: Asked) -> int:
        if attempt.upstream == "gamma":
            told = self.life.gpu[attempt.id]
            used = GAMMA_MOST if told is None else min(Decimal(GAMMA_MOST), told)
            return int(used * GAMMA_GPU_SECOND)
        second = ACME_SECOND if attempt.upstream == "acme" else BETA_SECOND
        return second * min(asked.seconds, self.life.made[attempt.id])

    def fee(self, row: Any, attempt: Any, asked: Asked) -> int:
        """The two exceptions."""
        if row.error_code == "moderation_blocked":
            assert self.life.verdicts[attempt.id] == ErrorKind.MODERATION_BLOCKED
            return ACME_SECOND * asked.seconds if attempt.upstream == "acme" else 0
        if row.error_code != "cancelled" or not asked.unwanted or asked.state not in ("running", "storing"):
            return 0
        fee = min(asked.customer.fee, int(row.hold_micros))
        if asked.surely:
            return fee
        assert row.cost_micros in (0, fee)  # asked for in the middle of the step that ended it
        return int(row.cost_micros)

    def nobody_has_less_than_nothing(self) -> None:
        def read(conn: Any) -> tuple[list[Any], dict[str, int], int]:
            given = (
                select(entries.c.organization_id, func.sum(lines.c.amount))
                .join(lines, lines.c.entry_id == entries.c.id)
                .where(lines.c.account == "promotion")
                .group_by(entries.c.organization_id)
            )
            used = conn.execute(select(func.max(budget_periods.c.used))).scalar()
            gifts = {name: -int(amount) for name, amount in conn.execute(given)}
            return list(conn.execute(select(balances))), gifts, used or 0

        rows, gifts, used = self.life.db.now(read)
        assert used <= BUDGET
        for row in rows:
            assert row.available >= (-LIMIT if row.mode == "postpaid" else 0)
            charged = sum(
                each.owed for each in self.known.values() if each.customer.name == row.organization_id
            )
            came_in = self.paid_in[row.organization_id] + gifts.get(row.organization_id, 0) + row.receivable
            assert came_in == row.available + row.promotional + row.held + charged

    def teardown(self) -> None:
        try:
            self.comes_to_its_end()
        finally:
            self.life.db.conn.close()

    def comes_to_its_end(self) -> None:
        """Whatever had happened: with upstreams that do their work nothing is left alive, held or taken."""
        for _ in range(200):
            if not self.run(self.life.work(Answers())):
                break
            self.nobody_pays_for_what_they_did_not_get()
        self.nobody_has_less_than_nothing()
        self.audited()
        assert all(each.ended for each in self.known.values())
        held, taken = select(func.sum(balances.c.held)), select(func.sum(slot_rows.c.used))
        assert self.life.db.now(lambda conn: conn.execute(held).scalar()) == 0
        assert not self.life.db.now(lambda conn: conn.execute(taken).scalar())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("life"))
    yield made
    made.close()


def live(bench: Bench, **changes: Any) -> None:
    """Many lives, always the same ones."""
    LifeMachine.bench = bench
    run_state_machine_as_test(
        LifeMachine,
        settings=settings(
            **{
                "max_examples": 12,
                "stateful_step_count": 25,
                "deadline": None,
                "database": None,
                "derandomize": True,
                "suppress_health_check": list(HealthCheck),
                **changes,
            }
        ),
    )


def test_nobody_pays_for_a_video_they_did_not_get(bench: Bench) -> None:
    live(bench)


def all_of_the_hold(video: Any, *_rest: Any) -> int:
    return int(video.hold_micros)


def fee_for_any_cancel(video: Any, attempt: Any, code: str, kind: Any) -> int:
    request = StoredRequest.model_validate(video.request)
    return min(request.cancel_fee_micros, video.hold_micros) if code == "cancelled" else 0


def as_long_as_asked(video: Any, attempt: Any, _duration_ms: Any, short_edge: int) -> Any:
    return charges.charge_of(video, attempt, None, short_edge)


def whoever_holds_it(conn: Any, lease: Any) -> None:
    conn.execute(delete(jobs).where(jobs.c.id == lease.job_id))


def late_success_is_sold(conn: Any, attempt: Any, video: Any, *rest: Any, **values: Any) -> None:
    settle.close_attempt(conn, attempt, video, *rest, **values)
    conn.execute(update(videos).where(videos.c.id == video.id).values(state="completed"))


NOBODY_CANCELS = select(videos.c.id).where(videos.c.id.in_(bindparam("ids", expanding=True)), false())

PLAIN, FEED, _ = CUSTOMERS
GOOD = Answers()


def body(model: str) -> dict[str, Any]:
    return {"prompt": "a cat", "model": model, "seconds": "4"}


def lives_of(model: str, *answers: Answers, of: Customer = PLAIN) -> Callable[[LifeMachine], None]:
    def lead(machine: LifeMachine) -> None:
        machine.create(of, [body(model)])
        machine.work(list(answers))

    return lead


def dropped_in_the_queue(machine: LifeMachine) -> None:
    machine.create(FEED, [body("acme/fast")])
    machine.customer_drops(0, "cancel")
    machine.work([GOOD])


def dropped_while_it_ran(machine: LifeMachine) -> None:
    lives_of("acme/fast", GOOD, of=FEED)(machine)
    machine.customer_drops(0, "cancel")
    machine.work([GOOD])
    assert [each.owed for each in machine.known.values()] == [FEED.fee]


def settled_twice(machine: LifeMachine) -> None:
    lives_of("acme/fast", GOOD, GOOD)(machine)
    machine.a_stale_worker_settles(0, deliver=False)


def finished_after_its_cancel(machine: LifeMachine) -> None:
    lives_of("beta/slow", GOOD)(machine)
    machine.customer_drops(0, "cancel")
    machine.work([GOOD, GOOD])


REFUSED = lives_of("beta/slow", Answers(submit="invalid_request"))
CANCELLED_LATE = lives_of("acme/fast", GOOD, Answers(meanwhile="cancel", moment="store.put"))
SHORT = lives_of("acme/fast", GOOD, Answers(content="short"))
PASSED_ON = lives_of("acme/fast", GOOD, Answers(poll="moderation_blocked"))
BLOCKED = lives_of("beta/slow", Answers(submit="moderation_blocked"))

MUTANTS: dict[str, tuple[Callable[[LifeMachine], None], Any, str, Any]] = {
    "a failure costs the hold": (REFUSED, settle, "fee_of", all_of_the_hold),
    "a cancel costs its fee before it began": (dropped_in_the_queue, settle, "fee_of", fee_for_any_cancel),
    "a fee is not taken": (dropped_while_it_ran, settle, "fee_of", lambda *_: 0),
    "a rejection that is passed on costs nothing": (PASSED_ON, settle, "fee_of", lambda *_: 0),
    "nothing is released": (REFUSED, settle, "release", lambda *_: None),
    "a cancel is not seen at the end": (CANCELLED_LATE, completion, "_CANCELLED", NOBODY_CANCELS),
    "a short file is billed whole": (SHORT, completion, "charge_of", as_long_as_asked),
    "a stale worker settles": (settled_twice, settle, "end", whoever_holds_it),
    "a late success is sold": (finished_after_its_cancel, watch, "close_attempt", late_success_is_sold),
    "slots are not given back": (lives_of("acme/fast", GOOD, GOOD), slots, "free", lambda *_: None),
    "any rejection is passed on": (BLOCKED, StoredRequest, "rejection_charged", lambda *_: True),
}


def lived(bench: Bench, lead: Callable[[LifeMachine], None]) -> None:
    """One life whose steps are named, under the same eyes."""
    LifeMachine.bench = bench
    machine = LifeMachine()
    try:
        lead(machine)
        machine.it_holds()
    finally:
        machine.teardown()


@pytest.mark.parametrize("name", MUTANTS)
def test_it_sees_what_is_wrong(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lead, target, attribute, wrong = MUTANTS[name]
    lived(bench, lead)
    monkeypatch.setattr(target, attribute, wrong)
    with pytest.raises((AssertionError, LedgerConflict)):
        lived(bench, lead)


def test_it_finds_what_is_wrong(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "fee_of", all_of_the_hold)
    with pytest.raises(AssertionError):
        live(bench, max_examples=20, phases=[Phase.generate], report_multiple_bugs=False)
