"""`onereel ledger verify`: the books by themselves, and against the videos that they are about."""

from typing import Final

from sqlalchemy import Connection, case, exists, func, select

from billing.tables import entries, lines
from billing.verify import verify
from gateway.jobs.tables import attempts
from gateway.usage.ended import verify_rollups
from gateway.usage.timings import verify_timings
from gateway.videos.states import TERMINAL
from gateway.videos.tables import videos

_SETTLED: Final = ("capture", "release")


def audit(conn: Connection) -> list[str]:
    """Every broken rule as one sentence; empty when the books are right."""
    return (
        verify(conn)
        + _ended(conn)
        + _live(conn)
        + _strays(conn)
        + _costs(conn)
        + verify_rollups(conn)
        + verify_timings(conn)
    )


def _ended(conn: Connection) -> list[str]:
    """Every terminal video has exactly one hold and one capture or release, as its row says."""
    holds, captures, releases = (
        func.coalesce(func.sum(case((entries.c.kind == kind, 1), else_=0)), 0)
        for kind in ("hold", "capture", "release")
    )
    rows = conn.execute(
        select(videos.c.id, videos.c.cost_status, holds, captures, releases)
        .outerjoin(entries, entries.c.subject == videos.c.id)
        .where(videos.c.state.in_(TERMINAL))
        .group_by(videos.c.id, videos.c.cost_status)
        .having(
            (holds != 1)
            | (captures != case((videos.c.cost_status == "captured", 1), else_=0))
            | (releases != case((videos.c.cost_status == "released", 1), else_=0))
        )
    )
    return [
        f"ended video {row[0]} ({row[1]}) has {row[2]} holds, {row[3]} captures and {row[4]} releases"
        for row in rows
    ]


def _live(conn: Connection) -> list[str]:
    """A live video has its hold, and nothing else."""
    settled = exists().where(entries.c.subject == videos.c.id, entries.c.kind.in_(_SETTLED))
    held = exists().where(entries.c.subject == videos.c.id, entries.c.kind == "hold")
    rows = conn.execute(select(videos.c.id).where(videos.c.state.not_in(TERMINAL), settled | ~held))
    return [f"live video {row[0]} is settled already or was never held" for row in rows]


def _strays(conn: Connection) -> list[str]:
    """Every hold belongs to a video."""
    known = exists().where(videos.c.id == entries.c.subject)
    rows = conn.execute(select(entries.c.subject).where(entries.c.kind == "hold", ~known))
    return [f"the hold of {row[0]} belongs to no video" for row in rows]


def _costs(conn: Connection) -> list[str]:
    """What is booked as upstream cost of an ended video is what its attempts say."""
    booked = (
        select(func.coalesce(func.sum(lines.c.amount), 0))
        .join(entries, entries.c.id == lines.c.entry_id)
        .where(entries.c.subject == videos.c.id, lines.c.account == "upstream_cost")
        .correlate(videos)
        .scalar_subquery()
    )
    told = (
        select(func.coalesce(func.sum(attempts.c.cost_micros), 0))
        .where(attempts.c.video_id == videos.c.id)
        .correlate(videos)
        .scalar_subquery()
    )
    rows = conn.execute(select(videos.c.id, booked, told).where(videos.c.state.in_(TERMINAL), booked != told))
    return [f"video {row[0]}: {row[1]} booked as upstream cost, its attempts say {row[2]}" for row in rows]
