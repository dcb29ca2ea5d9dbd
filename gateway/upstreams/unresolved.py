"""What an operator has to decide: creates whose answer was lost, and notices that nobody has dealt with.

A create that nobody can tell the fate of keeps its hold and its slot until the grace is over; an operator who has looked at
the provider's own console can end it at once. What a provider charged for it all the same is booked as our cost.
"""

from typing import Any, Final

from sqlalchemy import Connection, select, update

from billing.money import format_usd
from gateway.audit.notes import Of, caller
from gateway.clock import Clock
from gateway.db import Database, now_ms
from gateway.errors import BadRequest, NotFound
from gateway.events import Hints
from gateway.jobs.tables import attempts, jobs, notices
from gateway.principal import Principal, Scope
from gateway.usage.ended import correct_upstream_cost
from gateway.videos.states import LIVE, State
from gateway.videos.tables import videos

Json = dict[str, Any]
_MOST: Final = 100


class Unresolved:
    """For operators: it spans every organization. Raises ApiError."""

    def __init__(self, db: Database, clock: Clock, hints: Hints, grace_seconds: float) -> None:
        self._db = db
        self._clock = clock
        self._hints = hints
        self._grace_ms = round(grace_seconds * 1000)

    async def unknown(self) -> list[Json]:
        """List the videos whose submission nobody knows the fate of, the oldest first. Times in Unix seconds."""
        grace = self._grace_ms
        return await self._db.read(lambda conn: _unknown(conn, grace))

    async def notices(self, *, resolved: bool = False) -> list[Json]:
        """List what the operator was told and has not dealt with (or has), the newest first."""
        done = notices.c.resolved_at.is_not(None) if resolved else notices.c.resolved_at.is_(None)
        statement = select(notices).where(done).order_by(notices.c.id.desc()).limit(_MOST)
        rows = await self._db.read(lambda conn: conn.execute(statement).all())
        return [
            {
                "id": row.id,
                "kind": row.kind,
                "video_id": row.video_id,
                "attempt_id": row.attempt_id,
                "message": row.message,
                "created_at": row.created_at // 1000,
                "resolved_at": None if row.resolved_at is None else row.resolved_at // 1000,
                "resolution": row.resolution,
            }
            for row in rows
        ]

    async def resolve(self, principal: Principal, notice_id: str, resolution: str) -> None:
        """Say what was done about a notice. NotFound for one that is dealt with."""
        principal.require(Scope.OPERATOR)
        by = caller(principal)
        if not resolution.strip():
            raise BadRequest("Say what was done, in a few words.", param="resolution")
        done = {"resolved_at": now_ms(), "resolution": resolution.strip()[:500]}
        open_one = notices.c.id == notice_id, notices.c.resolved_at.is_(None)

        def write(conn: Connection) -> None:
            if not conn.execute(update(notices).where(*open_one).values(done)).rowcount:
                raise NotFound(f"No open notice '{notice_id[:64]}'.", code="notice_not_found")
            by.note(conn, "notice.resolved", notice_id, after={"resolution": done["resolution"]})

        await self._db.write(write)

    async def end_now(self, principal: Principal, video_id: str) -> None:
        """End the wait for a create that was never made: what is held is given back in the job's next step.

        A provider that can be asked is asked once more before. NotFound for one that is not unknown, or given up already.
        """
        principal.require(Scope.OPERATOR)
        by = caller(principal)
        waited_for = (
            attempts.c.video_id == video_id,
            attempts.c.state == "unknown",
            attempts.c.given_up_at.is_(None),
        )

        def write(conn: Connection) -> None:
            row = conn.execute(
                select(videos.c.organization_id, videos.c.project_id).where(
                    videos.c.id == video_id, videos.c.state == State.SUBMISSION_UNKNOWN
                )
            ).first()
            given_up = update(attempts).where(*waited_for).values(given_up_at=now_ms())
            if row is None or not conn.execute(given_up).rowcount:
                raise NotFound(
                    f"The fate of '{video_id[:64]}' is known by now, or about to be.",
                    param="video_id",
                    code="video_not_found",
                )
            conn.execute(update(jobs).where(jobs.c.id == video_id).values(due=now_ms()))
            by.note(conn, "video.unknown_ended", video_id, Of(row.organization_id, row.project_id))

        await self._db.write(write)
        self._hints.jobs_due()

    async def charged(self, principal: Principal, attempt_id: str, micros: int) -> None:
        """Book what a provider took for an attempt of a video that has ended: the operator's cost, not the customer's."""
        principal.require(Scope.OPERATOR)
        by, now = caller(principal), self._clock.now_ms()

        def write(conn: Connection) -> None:
            row = conn.execute(
                select(attempts, videos.c.organization_id, videos.c.project_id, videos.c.state.label("end"))
                .join(videos, videos.c.id == attempts.c.video_id)
                .where(attempts.c.id == attempt_id)
                .with_for_update(of=attempts)
            ).first()
            if row is None or row.end in LIVE:
                raise NotFound(
                    f"No attempt '{attempt_id[:64]}' of a video that has ended.", code="attempt_not_found"
                )
            more = micros - (row.cost_micros or 0)
            if more < 0:
                raise BadRequest(
                    f"{format_usd(row.cost_micros)} USD are booked already: say the whole of it.",
                    param="amount_usd",
                )
            told = {
                "cost_micros": micros,
                "cost_source": "reported",
                "cost_amount": format_usd(micros),
                "cost_currency": "USD",
                "cost_rate": "1",
            }
            conn.execute(update(attempts).where(attempts.c.id == attempt_id).values(told))
            correct_upstream_cost(conn, row.video_id, more, now)
            of = Of(row.organization_id, row.project_id)
            by.note(conn, "video.upstream_charged", row.video_id, of, after={"usd": format_usd(micros)})

        await self._db.write(write)


def _unknown(conn: Connection, grace_ms: int) -> list[Json]:
    waiting = (
        select(jobs.c.id)
        .where(jobs.c.state == State.SUBMISSION_UNKNOWN, jobs.c.due.is_not(None))
        .order_by(jobs.c.priority, jobs.c.due)
        .limit(_MOST)
        .subquery()
    )
    rows = conn.execute(
        select(
            videos.c.id,
            videos.c.organization_id,
            videos.c.project_id,
            videos.c.model,
            videos.c.hold_micros,
            attempts.c.id.label("attempt_id"),
            attempts.c.upstream,
            attempts.c.sent_at,
            attempts.c.given_up_at,
            attempts.c.idempotency_key,
        )
        .join(waiting, waiting.c.id == videos.c.id)
        .join(attempts, attempts.c.video_id == videos.c.id)
        .where(attempts.c.state == "unknown")
        .order_by(attempts.c.sent_at)
    ).all()
    return [
        {
            "video_id": row.id,
            "organization_id": row.organization_id,
            "project_id": row.project_id,
            "model": row.model,
            "held": format_usd(row.hold_micros),
            "attempt_id": row.attempt_id,
            "upstream": row.upstream,
            "sent_at": (row.sent_at or 0) // 1000,
            "ends_at": (row.given_up_at or (row.sent_at or 0) + grace_ms) // 1000,
            "idempotency_key": row.idempotency_key,
        }
        for row in rows
    ]
