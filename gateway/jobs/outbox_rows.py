"""The outbox in SQL: enqueue, claim, record the outcome. Every time is milliseconds since the epoch."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    insert,
    literal,
    select,
    update,
)

from gateway.crypto import DecryptionError, SecretBox
from gateway.db import now_ms
from gateway.ids import new_id
from gateway.jobs.tables import outbox
from gateway.videos.tables import videos
from gateway.webhooks.default_secret import read_default_secret, valid_secrets
from gateway.webhooks.event import event_body, origin_of, video_event_id
from gateway.webhooks.tables import webhook_endpoints as endpoints

_CANDIDATES = 256  # due rows looked at by one claim
_SUBSCRIBED = (
    select(endpoints.c.id, endpoints.c.project_id, endpoints.c.url, endpoints.c.event_types)
    .where(
        endpoints.c.project_id.in_(bindparam("projects", expanding=True)), endpoints.c.deleted_at.is_(None)
    )
    .order_by(endpoints.c.id)
)
_TRACES = select(videos.c.id, videos.c.trace).where(videos.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class VideoEvent:
    """What happened to a video, and the `webhook_url` that its request named."""

    project_id: str
    video_id: str
    type: str
    webhook_url: str | None


def enqueue_video_event(
    conn: Connection,
    *,
    project_id: str,
    video_id: str,
    event_type: str,
    webhook_url: str | None,
    now: int,
) -> int:
    """Enqueue one event: see `enqueue_video_events`."""
    return enqueue_video_events(conn, [VideoEvent(project_id, video_id, event_type, webhook_url)], now)


def enqueue_video_events(conn: Connection, events: Sequence[VideoEvent], now: int) -> int:
    """One delivery for each subscribed endpoint of the project and for the request's own `webhook_url`.

    Call it in the transaction that settles the video; it answers how many rows it wrote. The event's id follows
    from the video and the type, so settling twice is an IntegrityError, never a second event. One address gets
    an event once: of equal addresses the oldest endpoint counts, before `webhook_url`.
    """
    projects = sorted({event.project_id for event in events})
    subscribed = conn.execute(_SUBSCRIBED, {"projects": projects}).all()
    rows = [row for event in events for row in _deliveries_of(event, subscribed, now)]
    if rows:
        conn.execute(insert(outbox), rows)
    return len(rows)


def _deliveries_of(event: VideoEvent, subscribed: Sequence[Any], now: int) -> list[dict[str, Any]]:
    targets: dict[str, str | None] = {}
    for row in subscribed:
        if row.project_id == event.project_id and event.type in row.event_types:
            targets.setdefault(row.url, row.id)
    if event.webhook_url:
        targets.setdefault(event.webhook_url, None)
    if not targets:
        return []
    event_id = video_event_id(event.video_id, event.type)
    common = {
        "event_id": event_id,
        "event_type": event.type,
        "project_id": event.project_id,
        "video_id": event.video_id,
        "body": event_body(event_id, event.type, {"id": event.video_id}, now // 1000),
        "state": "pending",
        "due": now,
        "created_at": now,
    }
    return [delivery_row(common, url, endpoint) for url, endpoint in targets.items()]


def delivery_row(common: Mapping[str, Any], url: str, endpoint_id: str | None) -> dict[str, Any]:
    """Make the outbox row of one address; `endpoint_id` None where a request named it."""
    return {**common, "id": new_id("whd"), "url": url, "origin": origin_of(url), "endpoint_id": endpoint_id}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One claimed row: what to send where, and the `fence` under which its outcome may be recorded.

    `problem` says why it cannot be sent at all (its endpoint is gone, its secret unreadable).
    """

    id: str
    fence: int
    event_id: str
    url: str
    origin: str
    body: str
    tries: int
    secrets: tuple[str, ...] = ()
    problem: str | None = None
    gone: bool = False
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """How many rows one process wants. `blocked` origins are left alone, `room` says how many any other may have."""

    owner: str
    lease_ms: int
    count: int
    blocked: Collection[str]
    room: Mapping[str, int]
    room_default: int
    traced: bool = False


def has_due(conn: Connection, blocked: Collection[str]) -> bool:
    """Say whether there is anything to claim: cheap, and outside the writer."""
    return conn.scalar(select(outbox.c.id).where(*_due(blocked)).limit(1)) is not None


def claim(conn: Connection, want: ClaimRequest, box: SecretBox) -> list[Delivery]:
    """Lease due rows, oldest first, at most `room` per origin, and read what their delivery needs."""
    query = select(outbox.c.id, outbox.c.origin).where(*_due(want.blocked))
    query = query.order_by(outbox.c.due).limit(_CANDIDATES).with_for_update(skip_locked=True)
    chosen = _choose(conn.execute(query).all(), want)
    if not chosen:
        return []
    rows = conn.execute(
        update(outbox)
        .where(outbox.c.id.in_(chosen))
        .values(owner=want.owner, fence=outbox.c.fence + 1, lease_until=now_ms() + want.lease_ms)
        .returning(*outbox.c)
    ).all()
    deliveries = _deliveries(conn, rows, box)
    return _traced(conn, rows, deliveries) if want.traced else deliveries


def _due(blocked: Collection[str]) -> Iterator[ColumnElement[bool]]:
    yield outbox.c.due <= now_ms()
    yield outbox.c.lease_until <= now_ms()
    if blocked:
        yield outbox.c.origin.not_in(blocked)


def _choose(candidates: Sequence[Row[str, str]], want: ClaimRequest) -> list[str]:
    room = dict(want.room)
    chosen: list[str] = []
    for row in candidates:
        left = room.get(row.origin, want.room_default)
        if left > 0 and len(chosen) < want.count:
            room[row.origin] = left - 1
            chosen.append(row.id)
    return chosen


def _deliveries(conn: Connection, rows: Sequence[Row[Any]], box: SecretBox) -> list[Delivery]:
    ids = {row.endpoint_id for row in rows if row.endpoint_id is not None}
    found = {e.id: e for e in conn.execute(select(endpoints).where(endpoints.c.id.in_(ids)))} if ids else {}
    now = conn.scalar(select(now_ms())) or 0
    return [_to_deliver(conn, row, found.get(row.endpoint_id), box, now) for row in rows]


def _traced(conn: Connection, rows: Sequence[Row[Any]], deliveries: list[Delivery]) -> list[Delivery]:
    """Give each delivery the trace of its video."""
    ids = [row.video_id for row in rows if row.video_id is not None]
    traces = {row.id: row.trace for row in conn.execute(_TRACES, {"ids": ids})} if ids else {}
    return [
        replace(delivery, trace=traces.get(row.video_id))
        for row, delivery in zip(rows, deliveries, strict=True)
    ]


def _to_deliver(
    conn: Connection, row: Row[Any], endpoint: Row[Any] | None, box: SecretBox, now: int
) -> Delivery:
    secrets: tuple[str, ...] = ()
    problem, gone, url = None, False, row.url
    try:
        if row.endpoint_id is None:
            secrets = read_default_secret(conn, box, row.project_id, now).valid(now)
        elif endpoint is None or endpoint.deleted_at is not None:
            problem, gone = "the endpoint was deleted", True
        else:
            url = endpoint.url  # a corrected address also helps what already waits
            secrets = endpoint_secrets(endpoint, box, now)
    except DecryptionError as error:
        problem = str(error)
    return Delivery(
        row.id, row.fence, row.event_id, url, row.origin, row.body, row.tries, secrets, problem, gone
    )


def endpoint_secrets(endpoint: Row[Any], box: SecretBox, now: int) -> tuple[str, ...]:
    """Read what signs for an endpoint at `now`, newest first. DecryptionError."""
    previous = None
    if endpoint.previous_secret is not None and (endpoint.previous_secret_until or 0) > now:
        previous = box.decrypt(endpoint.previous_secret).decode()
    return valid_secrets(box.decrypt(endpoint.secret).decode(), previous, endpoint.previous_secret_until, now)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a try: `retry_ms` from now on, or None where the state is final."""

    delivery: Delivery
    state: str
    status: str
    retry_ms: int | None = None


def record(conn: Connection, outcome: Recorded) -> bool:
    """Write the outcome under the delivery's fence; False where another process or a redelivery took over."""
    delivered = now_ms() if outcome.state == "delivered" else outbox.c.delivered_at
    due = literal(None) if outcome.retry_ms is None else now_ms() + outcome.retry_ms
    result = conn.execute(
        update(outbox)
        .where(
            outbox.c.id == outcome.delivery.id,
            outbox.c.fence == outcome.delivery.fence,
            outbox.c.state == "pending",
        )
        .values(
            state=outcome.state,
            due=due,
            lease_until=0,
            owner=None,
            tries=outbox.c.tries + 1,
            last_status=outcome.status[:200],
            delivered_at=delivered,
        )
    )
    return result.rowcount == 1


def release(conn: Connection, delivery: Delivery) -> None:
    """Give an unsent delivery back at once."""
    conn.execute(
        update(outbox)
        .where(outbox.c.id == delivery.id, outbox.c.fence == delivery.fence)
        .values(lease_until=0, owner=None)
    )


def take_over_everything(conn: Connection, waits_ms: Sequence[int]) -> None:
    """Embedded start: every lease is void, and no row waits longer than its tries have earned.

    A due time beyond that can only come from a wall clock that has since been set back.
    """
    latest = now_ms() + case(
        *((outbox.c.tries == tries, wait) for tries, wait in enumerate([0, *waits_ms])), else_=waits_ms[-1]
    )
    pending = outbox.c.state == "pending"
    conn.execute(update(outbox).where(pending, outbox.c.lease_until > 0).values(lease_until=0, owner=None))
    conn.execute(update(outbox).where(pending, outbox.c.due > latest).values(due=latest))


def purge(conn: Connection, before_ms: int, limit: int = 500) -> int:
    """Delete finished rows made before the time, oldest first; how many they were. Ids rise with time."""
    finished = (
        select(outbox.c.id)
        .where(outbox.c.id < f"whd_{before_ms:012x}", outbox.c.due.is_(None))
        .order_by(outbox.c.id)
        .limit(limit)
    )
    return conn.execute(delete(outbox).where(outbox.c.id.in_(finished))).rowcount
