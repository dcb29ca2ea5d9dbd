"""Completed: captures, states, slots and client events of many videos in one transaction.

A handler for `Database.write_batch`: a fixed number of statements, however many videos there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Connection, bindparam, case, delete, select, update

from billing.entries import entry_id
from billing.ledger import Capture, capture_many
from billing.meters import Usage, enqueue_usage
from gateway.jobs import claims, slots
from gateway.jobs.charges import Charge, charge_of
from gateway.jobs.claims import Lease, LeaseLost, Loaded
from gateway.jobs.outbox_rows import VideoEvent, enqueue_video_events
from gateway.jobs.settle import StoredContent, database_now, hold_of
from gateway.jobs.tables import attempts, jobs
from gateway.usage.ended import record_ended
from gateway.videos.capabilities import text_of
from gateway.videos.states import State, check_transition
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos

_live = videos.c.deleted_at.is_(None)
_VIDEOS: Final = (
    update(videos)
    .where(videos.c.id == bindparam("video_id"))
    .values(
        state=State.COMPLETED,
        version=videos.c.version + 1,
        progress=100,
        completed_at=bindparam("now"),
        # a video deleted while it ran keeps no prompt, and its bytes go with the next sweep
        prompt=case((_live, videos.c.prompt), else_=None),
        expires_at=case((_live, bindparam("later", type_=BigInteger)), else_=bindparam("now")),
        size=bindparam("true_size"),
        seconds=bindparam("billed"),
        cost_micros=bindparam("charge"),
        cost_status="captured",
        billed_ms=bindparam("made_ms"),
        content_key=bindparam("key"),
        content_type=bindparam("media_type"),
        content_bytes=bindparam("bytes"),
        content_sha256=bindparam("sha256"),
        duration_ms=bindparam("length_ms"),
        provenance=bindparam("origin", type_=JSON),
    )
)
_CANCELLED: Final = select(videos.c.id).where(
    videos.c.id.in_(bindparam("ids", expanding=True)), videos.c.cancel_requested
)
_END_JOBS: Final = delete(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True)))
_HELD: Final = (
    select(attempts.c.id, attempts.c.holds_key_slot, attempts.c.holds_upstream_slot)
    .where(attempts.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(attempts.c.id)
    .with_for_update()
)
_CLOSE: Final = (
    update(attempts)
    .where(attempts.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state="completed",
        finished_at=bindparam("now"),
        holds_key_slot=False,
        holds_upstream_slot=False,
    )
)


class CancelledMeanwhile(Exception):
    """The client cancelled or deleted the video before it was settled: nothing is charged for it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One video whose bytes lie in our storage; kept for `retention_ms`."""

    lease: Lease
    rows: Loaded
    content: StoredContent
    retention_ms: int


def complete(conn: Connection, items: Sequence[Completion]) -> list[Exception | None]:
    """storing -> completed.

    LeaseLost where another worker owns the job, CancelledMeanwhile, LedgerConflict where it was charged.
    """
    ours = claims.owned(conn, [item.lease for item in items])
    # asked only now that the jobs are locked: a cancel is seen here, or finds a completed video
    cancelled = set(conn.execute(_CANCELLED, {"ids": sorted(ours)}).scalars())
    answers = [_stands(item, ours, cancelled) for item in items]
    kept = [n for n, answer in enumerate(answers) if answer is None]
    charges = [_charge(items[n]) for n in kept]
    now = database_now(conn)
    settled: list[tuple[Completion, Charge]] = []
    captures = [
        Capture(hold_of(items[n].rows.video), charge.micros, int(charge.made * 1000))
        for n, charge in zip(kept, charges, strict=True)
    ]
    paid: dict[str, int] = {}
    refusals = capture_many(conn, captures, now, paid)
    for n, charge, refusal in zip(kept, charges, refusals, strict=True):
        if refusal is None:
            settled.append((items[n], charge))
        else:
            answers[n] = refusal
    if settled:
        _write(conn, settled, now)
        enqueue_usage(conn, [_usage(item, paid, now) for item, _ in settled], now)
    return answers


def _stands(item: Completion, ours: set[str], cancelled: set[str]) -> Exception | None:
    if item.lease.job_id not in ours:
        return LeaseLost(item.lease.job_id)
    return CancelledMeanwhile(item.lease.job_id) if item.lease.job_id in cancelled else None


def _charge(item: Completion) -> Charge:
    video, attempt = item.rows.video, item.rows.attempt
    if attempt is None:
        raise AssertionError(f"{video.id} has content but no attempt")
    check_transition(State(item.lease.state), State.COMPLETED)
    content = item.content
    return charge_of(video, attempt, content.duration_ms, min(content.width, content.height))


def _write(conn: Connection, settled: Sequence[tuple[Completion, Charge]], now: int) -> None:
    items = [item for item, _ in settled]
    conn.execute(_END_JOBS, {"ids": [item.lease.job_id for item in items]})
    conn.execute(_VIDEOS, [_columns(item, charge, now) for item, charge in settled])
    _close_attempts(conn, items, now)
    record_ended(conn, [item.rows.video.id for item in items])
    enqueue_video_events(
        conn,
        [
            VideoEvent(
                item.rows.video.project_id,
                item.rows.video.id,
                "video.completed",
                StoredRequest.model_validate(item.rows.video.request).webhook_url,
            )
            for item in items
        ],
        now,
    )


def _usage(item: Completion, paid: dict[str, int], now: int) -> Usage:
    video = item.rows.video
    return Usage(entry_id(video.id, "capture"), video.organization_id, paid[video.id], now)


def _columns(item: Completion, charge: Charge, now: int) -> dict[str, Any]:
    content = item.content
    return {
        "video_id": item.rows.video.id,
        "now": now,
        "later": now + item.retention_ms,
        "true_size": f"{content.width}x{content.height}",
        "billed": text_of(charge.seconds),
        "charge": charge.micros,
        "made_ms": int(charge.made * 1000),
        "key": content.key,
        "media_type": content.media_type,
        "bytes": content.size,
        "sha256": content.sha256,
        "length_ms": content.duration_ms,
        "origin": content.provenance,
    }


def _close_attempts(conn: Connection, items: Sequence[Completion], now: int) -> None:
    """End the attempts and give back the slots they still hold, each exactly once."""
    of_attempt = {item.rows.attempt.id: item.rows for item in items if item.rows.attempt is not None}
    ids = list(of_attempt)
    names: list[str] = []
    for held in conn.execute(_HELD, {"ids": ids}):
        rows = of_attempt[held.id]
        if held.holds_key_slot:
            names += slots.client_slots(rows.video)
        if held.holds_upstream_slot and rows.attempt is not None:
            names.append(slots.upstream_slot(rows.attempt.upstream))
    conn.execute(_CLOSE, {"ids": ids, "now": now})
    slots.free(conn, names)
