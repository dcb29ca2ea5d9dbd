"""Five mistakes one could make in the engine. The checker must catch each, or it proves nothing."""

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, update

from billing import budgets
from billing.tables import budget_holds
from gateway.jobs import claims, completion, settle, slots, store, watch
from gateway.jobs.claims import Lease
from gateway.jobs.context import Job, JobContext
from gateway.jobs.tables import jobs
from gateway.jobs.tables import slots as rows
from gateway.webhooks import sending


def no_fence() -> None:
    """A worker whose lease ran out commits all the same."""

    def unfenced(conn: Connection, lease: Lease, **values: Any) -> None:
        conn.execute(update(jobs).where(jobs.c.id == lease.job_id).values(**values))

    def end(conn: Connection, lease: Lease) -> None:
        conn.execute(delete(jobs).where(jobs.c.id == lease.job_id))

    claims.__dict__["_fenced"] = unfenced
    claims.__dict__["owned"] = lambda _conn, leases: {lease.job_id for lease in leases}
    for module in (settle, watch):
        module.__dict__["end"] = end
    setattr(Lease, "check", lambda _lease: None)  # noqa: B010  (a planted mistake)


def ledger_outside() -> None:
    """The charge is booked after the state, in a transaction of its own."""

    async def settle_in_two(
        ctx: JobContext, job: Job, content: settle.StoredContent, _plan_days: float | None
    ) -> None:
        booked: list[tuple[Any, ...]] = []
        real = completion.__dict__["capture_many"]

        def unbooked(_conn: Connection, captures: Sequence[Any], now: int) -> list[None]:
            booked.append((captures, now))
            return [None] * len(captures)

        def complete(conn: Connection) -> None:
            completion.__dict__["capture_many"] = unbooked
            try:
                item = completion.Completion(job.lease, job.rows, content, 86_400_000)
                refusal = completion.complete(conn, [item])[0]
            finally:
                completion.__dict__["capture_many"] = real
            if refusal is not None:
                raise refusal

        await ctx.milestone("settle.begin", job.video_id)
        await ctx.db.write(complete)
        await asyncio.sleep(random.uniform(0.1, 0.5))
        await ctx.db.write(lambda conn: real(conn, *booked[0]))
        await ctx.milestone("settle.done", job.video_id)

    store.__dict__["_settle"] = settle_in_two


def slot_not_freed() -> None:
    """Now and then the counter is not given back."""

    def forgetful(conn: Connection, names: Sequence[str]) -> None:
        for name in names:
            if random.random() > 0.05:
                conn.execute(update(rows).where(rows.c.name == name).values(used=rows.c.used - 1))
            slots.unpark(conn, name, 1)

    slots.__dict__["free"] = forgetful


def event_id_renewed() -> None:
    """Every delivery of an event carries an id of its own."""
    real = sending.__dict__["signed_headers"]

    def renewed(signing: Sequence[str], _event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        return dict(real(signing, "evt_" + secrets.token_hex(16), timestamp, body))

    sending.__dict__["signed_headers"] = renewed


def budget_not_corrected() -> None:
    """What was held stays counted in the budgets, whatever is charged in the end."""

    def uncorrected(conn: Connection, actual: Mapping[str, tuple[int, int | None]]) -> None:
        conn.execute(delete(budget_holds).where(budget_holds.c.subject.in_(list(actual))))

    budgets.__dict__["correct"] = uncorrected


PLANTED: dict[str, Callable[[], None]] = {
    "no_fence": no_fence,
    "ledger_outside": ledger_outside,
    "slot_not_freed": slot_not_freed,
    "event_id_renewed": event_id_renewed,
    "budget_not_corrected": budget_not_corrected,
}


def plant(name: str) -> None:
    if name:
        PLANTED[name]()
