"""The end of a video: state, charge, slots and client events in ONE transaction."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, insert, select, update

from billing.entries import entry_id
from billing.ledger import Hold, capture, release
from billing.meters import Usage, enqueue_usage
from billing.money import format_usd
from gateway.db import now_ms
from gateway.ids import new_id
from gateway.jobs import costs, slots
from gateway.jobs.charges import fee_of
from gateway.jobs.claims import WATCHING, Lease, Loaded, end
from gateway.jobs.outbox_rows import enqueue_video_event
from gateway.jobs.tables import attempts, jobs, notices
from gateway.usage.ended import record_ended
from gateway.videos.price_book import Cost
from gateway.videos.states import State, check_transition
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos
from providers.contract import ErrorKind


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The file as it lies in our storage."""

    key: str
    media_type: str
    size: int
    sha256: str
    width: int
    height: int
    duration_ms: int | None
    provenance: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a video ends without a file. `watch`: its attempt still runs upstream and must be seen to its end.

    `kind` is the upstream's verdict where it gave one, `cost` what it takes for the attempt all the same, `error` what
    the attempt keeps of it.
    """

    code: str
    message: str
    watch: bool = False
    notice: str | None = None
    attempt_state: str = "failed"
    kind: ErrorKind | None = None
    cost: Cost | None = None
    error: dict[str, Any] | None = None


_NOW: Final = select(now_ms())
_HELD: Final = (
    select(attempts.c.holds_key_slot, attempts.c.holds_upstream_slot)
    .where(attempts.c.id == bindparam("attempt_id"))
    .with_for_update()
)


def database_now(conn: Connection) -> int:
    """Milliseconds by the clock that schedules."""
    return int(conn.execute(_NOW).scalar_one())


def hold_of(video: Any) -> Hold:
    """What was set aside when the video was accepted."""
    return Hold(video.id, video.organization_id, video.hold_micros, video.created_at)


def fail(conn: Connection, lease: Lease, rows: Loaded, failure: Failure) -> int:
    """Failed: release (or take the fee that was agreed for this), free the slots (or leave a watch job), tell the
    client. Answers the fee."""
    video, attempt = rows.video, rows.attempt
    end(conn, lease)
    check_transition(State(lease.state), State.FAILED)
    now = database_now(conn)
    fee = fee_of(video, attempt, failure.code, failure.kind)
    if fee:
        paid = capture(conn, hold_of(video), fee, now, length_ms=0)
        enqueue_usage(conn, [Usage(entry_id(video.id, "capture"), video.organization_id, paid, now)], now)
    else:
        release(conn, hold_of(video), now)
    conn.execute(
        update(videos)
        .where(videos.c.id == video.id)
        .values(
            **_final(State.FAILED, now),
            error_code=failure.code,
            error_message=f"{failure.message} {format_usd(fee)} USD were charged."
            if fee
            else failure.message,
            cost_micros=fee,
            cost_status="captured" if fee else "released",
        )
    )
    if attempt is not None and failure.watch:
        _watch(conn, attempt, video, now)
    elif attempt is not None:
        told = {} if failure.cost is None else costs.columns(failure.cost)
        if failure.error is not None:
            told |= {"error": failure.error}
        close_attempt(conn, attempt, video, failure.attempt_state, now, **told)
    if failure.notice:
        add_notice(
            conn,
            failure.code,
            failure.notice,
            now,
            video_id=video.id,
            attempt_id=attempt.id if attempt is not None else None,
        )
    record_ended(conn, [video.id])
    _announce(conn, video, "video.failed", now)
    return fee


def _final(state: State, now: int) -> dict[str, Any]:
    """The columns of every end; a video deleted while it ran keeps no prompt."""
    prompt = case((videos.c.deleted_at.is_(None), videos.c.prompt), else_=None)
    return {"state": state, "version": videos.c.version + 1, "completed_at": now, "prompt": prompt}


def close_attempt(conn: Connection, attempt: Any, video: Any, state: str, now: int, **values: Any) -> None:
    """End an attempt and give back the slots it still holds, each exactly once."""
    held = conn.execute(_HELD, {"attempt_id": attempt.id}).one()
    conn.execute(
        update(attempts)
        .where(attempts.c.id == attempt.id)
        .values(state=state, finished_at=now, holds_key_slot=False, holds_upstream_slot=False, **values)
    )
    names = slots.client_slots(video) if held.holds_key_slot else []
    names += [slots.upstream_slot(attempt.upstream)] if held.holds_upstream_slot else []
    slots.free(conn, names)


def _watch(conn: Connection, attempt: Any, video: Any, now: int) -> None:
    """The client's slot is free, the upstream's stays taken until the upstream is done."""
    if attempt.holds_key_slot:
        conn.execute(update(attempts).where(attempts.c.id == attempt.id).values(holds_key_slot=False))
        slots.free(conn, slots.client_slots(video))
    conn.execute(
        insert(jobs).values(
            id=attempt.id, kind="watch", state=WATCHING, priority=30, due=now, lease_until=0, fence=0, tries=0
        )
    )


def add_notice(
    conn: Connection,
    kind: str,
    message: str,
    now: int,
    *,
    video_id: str | None = None,
    attempt_id: str | None = None,
) -> None:
    """An entry for the operator."""
    conn.execute(
        insert(notices).values(
            id=new_id("evt"),
            kind=kind,
            video_id=video_id,
            attempt_id=attempt_id,
            message=message,
            created_at=now,
        )
    )


def _announce(conn: Connection, video: Any, event_type: str, now: int) -> None:
    enqueue_video_event(
        conn,
        project_id=video.project_id,
        video_id=video.id,
        event_type=event_type,
        webhook_url=StoredRequest.model_validate(video.request).webhook_url,
        now=now,
    )


PUBLIC_CODES = {
    ErrorKind.MODERATION_BLOCKED: "moderation_blocked",
    ErrorKind.INVALID_REQUEST: "invalid_request",
    ErrorKind.INPUT_MEDIA: "input_media",
    ErrorKind.OUT_OF_MEMORY: "out_of_memory",
    ErrorKind.CANCELLED: "cancelled",
    ErrorKind.JOB_LOST: "expired",
    ErrorKind.CONTENT_EXPIRED: "expired",
    ErrorKind.MODEL_RETIRED: "model_retired",
    ErrorKind.PROVIDER_UNAVAILABLE: "provider_unavailable",
    ErrorKind.RATE_LIMITED: "provider_unavailable",
    ErrorKind.CONCURRENCY_LIMITED: "provider_unavailable",
}
"""error.code of a failed video; every other kind is `provider_error`."""
