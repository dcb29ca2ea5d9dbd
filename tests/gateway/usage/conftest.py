"""Videos that end as the engine ends them: rows, ledger, attempts and usage in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from billing.ledger import Hold, hold_many, open_balance
from gateway.clock import Clock
from gateway.db import Database
from gateway.ids import new_id
from gateway.jobs.claims import Lease, Loaded
from gateway.jobs.completion import Completion, complete
from gateway.jobs.settle import Failure, StoredContent, fail
from gateway.jobs.tables import attempts, jobs
from gateway.usage.costs import cost_rows
from gateway.usage.ended import record_ended, verify_rollups
from gateway.usage.query import COSTS, USAGE, Asked, Report, parse
from gateway.usage.read import Row, read_page, usage_rows
from gateway.videos.capabilities import text_of
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos

PRICE = 100_000  # micro-USD a second
DAY = 86_400
START = 1_767_225_600  # 2026-01-01 in Unix seconds
HERE, ELSEWHERE = "org_here", "org_elsewhere"


@dataclass(frozen=True)
class Film:
    """One video: who asked for what, and how it ends. `at` in Unix seconds is for `place`."""

    completed: bool = True
    organization_id: str = HERE
    project_id: str = "proj_a"
    key_id: str = "key_a"
    model: str = "acme/fast"
    user: str | None = None
    seconds: int = 4
    added_to: int = 0  # seconds of the source, for an extension
    measured_ms: int | None = None
    reported: int | None = None
    estimate: int | None = None
    watched: bool = False
    at: int = START


def begin(conn: Connection, film: Film, clock: Clock) -> tuple[Lease, Loaded]:
    """A video whose bytes are in our storage, as its job sees it."""
    video_id, attempt_id, hold = new_id("video"), new_id("att"), film.seconds * PRICE
    open_balance(conn, film.organization_id, "off")
    hold_many(conn, [Hold(video_id, film.organization_id, hold, clock.now_ms())])
    request = StoredRequest(
        seconds=Decimal(film.seconds), size="1280x720", models=[film.model], price_per_second_micros=PRICE
    )
    conn.execute(
        insert(videos).values(
            id=video_id,
            organization_id=film.organization_id,
            project_id=film.project_id,
            key_id=film.key_id,
            operation="extend" if film.added_to else "generate",
            model=film.model,
            prompt="a cat",
            seconds=text_of(Decimal(film.added_to + film.seconds)),
            size="1280x720",
            request=request.model_dump(mode="json"),
            state="storing" if film.completed else "running",
            created_at=clock.now_ms(),
            deadline=clock.now_ms() + 600_000,
            user_ref=film.user,
            hold_micros=hold,
            cost_status="held",
        )
    )
    conn.execute(
        insert(attempts).values(
            id=attempt_id,
            video_id=video_id,
            n=1,
            upstream="acme",
            upstream_model="fast-1",
            state="running",
            idempotency_key=attempt_id,
            holds_key_slot=False,
            holds_upstream_slot=False,
            created_at=clock.now_ms(),
            cost_micros=film.reported,
            cost_source=None if film.reported is None else "reported",
            estimate_micros=film.estimate,
        )
    )
    state = "storing" if film.completed else "running"
    conn.execute(insert(jobs).values(id=video_id, kind="video", state=state, priority=10, fence=1))
    loaded = Loaded(
        conn.execute(select(videos).where(videos.c.id == video_id)).one(),
        conn.execute(select(attempts).where(attempts.c.id == attempt_id)).one(),
    )
    return Lease(video_id, "video", state, 1, 0, clock, clock.monotonic() + 60), loaded


def finish(conn: Connection, begun: Sequence[tuple[Film, Lease, Loaded]]) -> None:
    """End them as the runner does: failures one by one, completions as one batch."""
    for film, lease, rows in begun:
        if not film.completed:
            fail(conn, lease, rows, Failure("cancelled", "The video was cancelled.", watch=film.watched))
    done = [
        Completion(
            lease,
            rows,
            StoredContent(f"videos/{rows.video.id}", "video/mp4", 4, "0", 1280, 720, film.measured_ms),
            86_400_000,
        )
        for film, lease, rows in begun
        if film.completed
    ]
    if done:
        assert complete(conn, done) == [None] * len(done)


@dataclass
class Cinema:
    """A database of videos and what is read of it."""

    db: Database
    clock: Clock

    async def make(self, *films: Film) -> list[str]:
        """Films that end now, as the runner ends them."""

        def write(conn: Connection) -> list[str]:
            begun = [(film, *begin(conn, film, self.clock)) for film in films]
            finish(conn, begun)
            return [rows.video.id for _, _, rows in begun]

        return await self.db.write(write)

    async def place(self, *films: Film) -> list[str]:
        """Films that ended at `at`: rows as a settle leaves them, counted as a settle counts them."""

        def write(conn: Connection) -> list[str]:
            ids = []
            for film in films:
                _, rows = begin(conn, film, self.clock)
                billed = film.seconds if film.completed else 0
                values = {
                    "state": "completed" if film.completed else "failed",
                    "completed_at": film.at * 1000,
                    "billed_ms": billed * 1000,
                    "cost_micros": billed * PRICE,
                }
                conn.execute(update(videos).where(videos.c.id == rows.video.id).values(values))
                conn.execute(jobs.delete().where(jobs.c.id == rows.video.id))
                ids.append(rows.video.id)
            record_ended(conn, ids)
            return ids

        return await self.db.write(write)

    async def problems(self) -> list[str]:
        return await self.db.read(verify_rollups)

    async def rows(self, report: Report = USAGE, organization_id: str = HERE, **asked: Any) -> list[Row]:
        """The rows of a page."""
        lists: Mapping[str, Sequence[str]] = asked.pop("lists", {})
        start = self.clock.now_ms() // 1000 - DAY
        query = parse(report, Asked(**{"start_time": start, **asked}, lists=lists), self.clock.now_ms())
        read = usage_rows if report is USAGE else cost_rows
        page = await self.db.read(lambda conn: read_page(conn, organization_id, query, read))
        return list(page.rows)


@pytest.fixture
async def cinema(db: Database, clock: Clock) -> Cinema:
    return Cinema(db, clock)


__all__ = ["COSTS", "DAY", "ELSEWHERE", "HERE", "PRICE", "START", "Cinema", "Film", "begin", "finish"]
