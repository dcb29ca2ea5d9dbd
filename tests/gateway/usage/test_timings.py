"""The proof of the times: what waited was rendered, and was completed."""

from sqlalchemy import insert

from billing.rollups import Usage, record_usage
from billing.timing_tables import timing_rollups
from billing.timings import Timing, record_timings
from gateway.db import Database
from gateway.usage.timings import verify_timings

HOUR = 3_600_000
WHERE = {"organization_id": "org", "project_id": "proj", "key_id": "key", "model": "m"}
ENDED = {"user_ref": "", "ended_at": HOUR, "completed": True, "billed_ms": 1, "revenue": 0, "quoted": 0}


async def test_times_agree_with_the_rollups_or_are_named(db: Database) -> None:
    usage = Usage(**WHERE, **ENDED, upstream_cost=0)  # type: ignore[arg-type]  # texts and numbers by name
    timing = Timing(**WHERE, ended_at=HOUR, waited_ms=50, rendered_ms=9000)
    await db.write(lambda conn: record_usage(conn, [usage, usage]))
    await db.write(lambda conn: record_timings(conn, [timing]))
    assert await db.read(verify_timings) == []  # one of them ended before times were counted
    await db.write(lambda conn: record_timings(conn, [timing, timing]))
    problems = await db.read(verify_timings)
    assert len(problems) == 2  # the hour and the day
    assert "3 waited, 3 rendered, 2 completed" in problems[0]
    lost = {**WHERE, "grain": "h", "bucket": 0, "measure": "w", "bin": 1, "videos": 1}
    await db.write(lambda conn: conn.execute(insert(timing_rollups).values(lost)))
    assert any("1 waited, 0 rendered, 0 completed" in each for each in await db.read(verify_timings))
