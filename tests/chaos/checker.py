"""What must be true of the database, the upstreams and the client when the dust has settled."""

import hashlib
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from billing.tables import entries
from gateway.billing.audit import audit
from gateway.db import Database
from gateway.jobs.tables import attempts, jobs, slots
from gateway.videos.states import TERMINAL
from gateway.videos.tables import videos
from tests.chaos.money import ORGANIZATION, costless, money_problems
from tests.chaos.receiver import Receiver


@dataclass
class Upstream:
    """One fake and what it promised."""

    name: str
    cap: int
    safety: str
    stats: dict[str, Any] = field(default_factory=dict)


@dataclass
class Findings:
    """Broken invariants, one sentence each, and the counts of the run."""

    problems: list[str] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    redelivered: int = 0


Contents = Callable[[str], Awaitable[bytes | None]]
"""The bytes of a storage key, None where there are none."""


async def check(
    db: Database,
    accepted: Iterable[str],
    upstreams: list[Upstream],
    receiver: Receiver,
    contents: Contents,
    *,
    organizations: Sequence[str] = (ORGANIZATION,),
    untold: Container[str] = (),
) -> Findings:
    """`untold` are the accepted videos that named no webhook."""
    found = Findings()
    expected = set(accepted)
    rows = await db.read(lambda conn: conn.execute(select(videos)).mappings().all())
    by_id = {row["id"]: dict(row) for row in rows}
    found.problems += [f"accepted video {i} is lost" for i in expected - by_id.keys()]
    found.problems += [f"video {i} was made by nobody" for i in by_id.keys() - expected]
    found.problems += await db.read(lambda conn: _jobs(conn, by_id))
    found.problems += await db.read(lambda conn: _money(conn, by_id, organizations))
    found.problems += await db.read(_slots)
    found.problems += [problem for upstream in upstreams for problem in _upstream(upstream)]
    found.problems += _events(by_id, receiver, untold)
    found.problems += await _contents(by_id, contents)
    for row in by_id.values():
        found.states[row["state"]] = found.states.get(row["state"], 0) + 1
        found.unknown += row["error_code"] == "submission_unknown"
    found.redelivered = sum(count > 1 for count in receiver.accepted.values())
    return found


def _jobs(conn: Connection, by_id: dict[str, Any]) -> list[str]:
    problems = [
        f"video {i} is stuck in {row['state']}" for i, row in by_id.items() if row["state"] not in TERMINAL
    ]
    left = conn.execute(select(func.count()).select_from(jobs)).scalar_one()
    return problems + ([f"{left} jobs are left over"] if left else [])


def _money(conn: Connection, by_id: dict[str, Any], organizations: Sequence[str]) -> list[str]:
    problems = audit(conn) + costless(conn)
    problems += [problem for each in organizations for problem in money_problems(conn, each)]
    kinds: dict[str, list[str]] = {}
    for row in conn.execute(select(entries.c.subject, entries.c.kind).where(entries.c.kind != "cost")):
        kinds.setdefault(row.subject, []).append(row.kind)
    for video_id, row in by_id.items():
        if row["state"] not in TERMINAL:
            continue
        # a failed video costs only what was agreed for that: a cancel fee, a passed-on charge on rejection
        end = "capture" if row["state"] == "completed" or row["cost_micros"] else "release"
        if sorted(kinds.get(video_id, [])) != sorted(["hold", end]):
            problems.append(f"{row['state']} video {video_id} has ledger entries {kinds.get(video_id)}")
    return problems


def _slots(conn: Connection) -> list[str]:
    problems = [
        f"slot {row.name} is still {row.used} in use"
        for row in conn.execute(select(slots).where(slots.c.used != 0))
    ]
    held = conn.execute(
        select(func.count())
        .select_from(attempts)
        .where(attempts.c.holds_upstream_slot | attempts.c.holds_key_slot)
    ).scalar_one()
    return problems + ([f"{held} attempts still hold a slot"] if held else [])


def _upstream(upstream: Upstream) -> list[str]:
    problems = []
    if upstream.stats["doubles"]:
        problems.append(
            f"{upstream.name} ({upstream.safety}) made {len(upstream.stats['doubles'])} jobs twice"
        )
    if upstream.stats["max_live"] > upstream.cap:
        problems.append(
            f"{upstream.name} ran {upstream.stats['max_live']} at once, its cap is {upstream.cap}"
        )
    return problems


def _events(by_id: dict[str, Any], receiver: Receiver, untold: Container[str]) -> list[str]:
    problems = []
    for video_id, row in by_id.items():
        if row["state"] not in TERMINAL:
            continue
        if video_id in untold:
            if receiver.ids[video_id]:
                problems.append(f"an event of {video_id} came unasked")
            continue
        if not receiver.accepted[video_id]:
            problems.append(f"the client was never told of {video_id}")
        if len(receiver.ids[video_id]) > 1:
            problems.append(f"the event of {video_id} came under {len(receiver.ids[video_id])} ids")
        if receiver.types[video_id] - {f"video.{row['state']}"}:
            problems.append(
                f"the client was told {sorted(receiver.types[video_id])} of a {row['state']} video"
            )
    return problems


async def _contents(by_id: dict[str, Any], contents: Contents) -> list[str]:
    problems = []
    for video_id, row in by_id.items():
        if row["state"] != "completed" or row["deleted_at"] is not None:
            continue
        data = await contents(row["content_key"])
        if data is None:
            problems.append(f"the file of completed video {video_id} is missing")
        elif hashlib.sha256(data).hexdigest() != row["content_sha256"]:
            problems.append(f"the file of completed video {video_id} is not what was settled")
    return problems


def in_folder(storage: Path) -> Contents:
    """What lies in a folder."""

    async def read(key: str) -> bytes | None:
        path = storage / key
        return path.read_bytes() if path.is_file() else None

    return read
