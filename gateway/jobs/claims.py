"""Who may work on a job: leases with a fence. A stale worker's commit touches no row and is dropped."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    select,
    tuple_,
    update,
)

from gateway.clock import Clock
from gateway.db import now_ms
from gateway.jobs.tables import attempts, jobs
from gateway.videos.states import LIVE, State
from gateway.videos.tables import videos

WATCHING: Final = "watching"
KNOWN_STATES: Final = sorted([*LIVE, WATCHING])
"""A process claims only the states it has a handler for."""
ASKED: Final = sorted([State.RUNNING, WATCHING])
"""Their upstream has them: a step is one short request."""

BEGUN: Final = 1000
"""Taken from the priority when an attempt begins: what is begun is ended before more is begun."""

LOST: Final = "lost"
"""The state of an attempt whose worker was lost, while another worker makes the video."""
ASKED_AGAIN: Final = frozenset({"refused", LOST})

_SPREAD_MS: Final = 5
_LONGEST_SPREAD_MS: Final = 15_000
"""So long for each poll that fell due while nobody was there, and so long at most."""
_OVERDUE_POLLS: Final = (
    select(jobs.c.id).where(jobs.c.state.in_(ASKED), jobs.c.due <= now_ms()).order_by(jobs.c.due)
)
_SPREAD: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job_id"))
    .values(due=now_ms() + bindparam("wait_ms", type_=BigInteger))
)

_QUEUED: Final = frozenset({State.PREPARING, State.QUEUED})
_DUE: Final = (
    select(jobs.c.id)
    .where(
        jobs.c.due <= now_ms(),
        jobs.c.lease_until <= now_ms(),
        jobs.c.state.in_(bindparam("states", expanding=True)),
    )
    .order_by(jobs.c.priority, jobs.c.due)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_CLAIM: Final = (
    update(jobs)
    .where(jobs.c.id.in_(_DUE.scalar_subquery()))
    .values(
        owner=bindparam("new_owner"),
        lease_until=now_ms() + bindparam("lease"),
        fence=jobs.c.fence + 1,
        parked_for=None,
    )
    .returning(jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.fence, jobs.c.tries)
)
_ids: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
OVERDUE: Final = (videos.c.deadline <= now_ms()).label("overdue")
"""By the clock that set the deadline: on PostgreSQL the database's, however wrong that of a process is."""
_VIDEOS: Final = select(videos, OVERDUE).where(videos.c.id.in_(_ids))
_ATTEMPTS: Final = select(attempts).where(attempts.c.id.in_(_ids))
_ATTEMPTS_OF: Final = select(attempts).where(attempts.c.video_id.in_(_ids)).order_by(attempts.c.n)
_END: Final = delete(jobs).where(jobs.c.id == bindparam("job_id"), jobs.c.fence == bindparam("job_fence"))
_LOCKED: Final = (
    select(jobs.c.id, jobs.c.fence)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(jobs.c.id)
    .with_for_update()
)


class LeaseLost(Exception):
    """Another worker owns the job now: drop everything."""


@dataclass(eq=False)
class Lease:
    """The right to act on one job until `valid_until` on the monotonic clock."""

    job_id: str
    kind: str
    state: str
    fence: int
    tries: int
    clock: Clock = field(repr=False)
    valid_until: float
    lost: bool = False
    outcome: str = "open"
    """How the step that runs ends, in a word: for metrics and traces."""

    def check(self) -> None:
        """Call right before every external effect. LeaseLost if the lease may have run out."""
        if self.lost or self.clock.monotonic() >= self.valid_until:
            raise LeaseLost(self.job_id)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a step needs of the rows: the video, and its latest attempt if there is one.

    `tried` are the upstreams, with their models, that it has been at for good; one that only refused, or that lost the
    video with its process, may be asked again.
    """

    video: Row[Any]
    attempt: Row[Any] | None
    tried: frozenset[tuple[str, str]] = frozenset()


def claim(
    conn: Connection, owner: str, lease_ms: int, limit: int, states: Sequence[str] = KNOWN_STATES
) -> Sequence[Row[Any]]:
    """Take up to `limit` due jobs in these states, most urgent first."""
    asked = {"most": limit, "new_owner": owner, "lease": lease_ms, "states": states}
    return conn.execute(_CLAIM, asked).all()


def owned(conn: Connection, leases: Collection[Lease]) -> set[str]:
    """Lock the jobs of these leases until commit; the ids of those that are still ours."""
    locked = conn.execute(_LOCKED, {"ids": [lease.job_id for lease in leases]})
    held = {row.id: row.fence for row in locked}
    return {lease.job_id for lease in leases if held.get(lease.job_id) == lease.fence}


def load(conn: Connection, claimed: Sequence[Row[Any]]) -> dict[str, Loaded]:
    """The rows behind claimed jobs, by job id, in three statements whatever their number."""
    watched = [row.id for row in claimed if row.kind == "watch"]
    attempt_rows: list[Row[Any]] = []
    if watched:
        attempt_rows += conn.execute(_ATTEMPTS, {"ids": watched}).all()
    by_watch = {row.id: row for row in attempt_rows}
    video_ids = [row.id for row in claimed if row.kind == "video"]
    wanted = video_ids + [row.video_id for row in attempt_rows]
    video_rows = {r.id: r for r in conn.execute(_VIDEOS, {"ids": wanted})}
    latest: dict[str, Row[Any]] = {}
    tried: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in conn.execute(_ATTEMPTS_OF, {"ids": video_ids}):
        latest[row.video_id] = row
        if row.state not in ASKED_AGAIN:
            tried[row.video_id].add((row.upstream, row.upstream_model))
    found = {
        i: Loaded(video_rows[i], latest.get(i), frozenset(tried[i])) for i in video_ids if i in video_rows
    }
    found.update(
        {i: Loaded(video_rows[a.video_id], a) for i, a in by_watch.items() if a.video_id in video_rows}
    )
    return found


def renew(conn: Connection, owner: str, leases: Iterable[Lease], lease_ms: int) -> set[tuple[str, int]]:
    """Prolong by (id, fence); a pair that is not in the answer is lost."""
    pairs = [(lease.job_id, lease.fence) for lease in leases]
    if not pairs:
        return set()
    rows = conn.execute(
        update(jobs)
        # a job handed on meanwhile keeps its fence but has no owner: it must not be held back
        .where(tuple_(jobs.c.id, jobs.c.fence).in_(pairs), jobs.c.owner == owner)
        .values(lease_until=now_ms() + lease_ms)
        .returning(jobs.c.id, jobs.c.fence)
    )
    return {(row.id, row.fence) for row in rows}


def give_back(conn: Connection, leases: Iterable[Lease]) -> None:
    """Let a successor take over at once (graceful stop)."""
    pairs = [(lease.job_id, lease.fence) for lease in leases]
    if pairs:
        conn.execute(
            update(jobs).where(tuple_(jobs.c.id, jobs.c.fence).in_(pairs)).values(lease_until=0, owner=None)
        )


def keep(conn: Connection, lease: Lease, *, state: str, tries: int = 0) -> None:
    """Move the job to `state` and stay its owner: the next step follows at once."""
    _fenced(conn, lease, state=state, tries=tries)
    lease.state = state


def hand_on(
    conn: Connection,
    lease: Lease,
    *,
    state: str,
    delay_ms: int,
    tries: int = 0,
) -> None:
    """Move the job to `state` and give it up: due in `delay_ms`."""
    values: dict[str, Any] = {"due": now_ms() + delay_ms, "parked_for": None}
    if state in _QUEUED:  # nothing of it is under way any more
        values["priority"] = case((jobs.c.priority < 0, jobs.c.priority + BEGUN), else_=jobs.c.priority)
    _fenced(conn, lease, state=state, tries=tries, lease_until=0, owner=None, **values)


def end(conn: Connection, lease: Lease) -> None:
    """Remove the job: its video is terminal, or its attempt has ended."""
    gone = conn.execute(_END, {"job_id": lease.job_id, "job_fence": lease.fence})
    if gone.rowcount != 1:
        raise LeaseLost(lease.job_id)


def _fenced(conn: Connection, lease: Lease, **values: Any) -> None:
    moved = conn.execute(
        update(jobs)
        # the state too: a commit whose answer was lost (connection gone) may have moved the job already
        .where(jobs.c.id == lease.job_id, jobs.c.fence == lease.fence, jobs.c.state == lease.state)
        .values(**values)
    )
    if moved.rowcount != 1:
        raise LeaseLost(lease.job_id)


def take_over_everything(conn: Connection, soon_ms: int, grace_ms: int) -> None:
    """Embedded start: the data directory's lock proves that no sibling lives, so every lease is void.

    A due time far ahead can only come from a wall clock that has since been set back; only an unresolved
    submission may wait long. Polls that fell due meanwhile are spread over a while, so that no upstream gets them all
    in one second.
    """
    longest = case((jobs.c.state == "submission_unknown", grace_ms), else_=soon_ms)
    conn.execute(update(jobs).where(jobs.c.lease_until > 0).values(lease_until=0, owner=None))
    conn.execute(update(jobs).where(jobs.c.due > now_ms() + longest).values(due=now_ms() + longest))
    overdue = conn.execute(_OVERDUE_POLLS).scalars().all()
    if overdue:
        step_ms = min(_SPREAD_MS, _LONGEST_SPREAD_MS / len(overdue))
        rows = [{"job_id": job_id, "wait_ms": int(n * step_ms)} for n, job_id in enumerate(overdue)]
        conn.execute(_SPREAD, rows)
    # what was sent in the future, by that clock, was sent now at the latest: waits that count from it must end
    conn.execute(update(attempts).where(attempts.c.sent_at > now_ms()).values(sent_at=now_ms()))
