"""A month of a million videos as rollups on PostgreSQL: how long its questions take. By hand:

python -m tests.bench.usage [--videos 1000000]
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, text

from billing.rollups import DAY_MS, HOUR_MS
from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.principal import Principal
from gateway.settings import Settings
from gateway.usage.ended import verify_rollups
from gateway.usage.query import Asked
from gateway.usage.service import UsageService
from tests.conftest import create_tables
from tests.postgres import create_database, postgres

START = 1_767_225_600  # 2026-01-01
DAYS = 31
ORGANIZATION = "org_bench"
LIMIT_MS = 200
RUNS = 5
VIDEOS = """
INSERT INTO videos (id, organization_id, project_id, key_id, operation, model, seconds, size, request, state,
    progress, version, cancel_requested, created_at, completed_at, deadline, user_ref, hold_micros, cost_micros,
    cost_status, billed_ms, retry_claims)
SELECT 'video_' || lpad(n::text, 32, '0'), :organization, 'proj_' || (key % 5), 'key_' || key, 'generate',
    'acme/' || model, '8', '1280x720', '{}', CASE WHEN failed THEN 'failed' ELSE 'completed' END, 100, 1, false, at,
    at, at, CASE WHEN person % 20 = 0 THEN NULL ELSE 'user ' || person END, 800000,
    CASE WHEN failed THEN 0 ELSE 800000 END, 'captured', CASE WHEN failed THEN 0 ELSE 8000 END, 0
FROM (
    SELECT n, (random() * 39)::int AS key, (random() * 11)::int AS model, (random() * 1999)::int AS person,
        random() < 0.05 AS failed, :start + (n * (:length::float / :videos))::bigint AS at
    FROM generate_series(0, :videos - 1) AS n
) AS made
"""
ROLLUPS = """
INSERT INTO usage_rollups
SELECT organization_id, '{grain}', completed_at - completed_at % {length}, project_id, {key_id}, {model}, {user},
    count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state = 'failed'), sum(billed_ms),
    sum(cost_micros), 0, sum(hold_micros), 0
FROM videos GROUP BY 1, 3, 4, 5, 6, 7 ORDER BY 1, 3
"""
FAMILIES = (
    {"grain": "h", "length": HOUR_MS, "key_id": "key_id", "model": "model", "user": "''"},
    {"grain": "d", "length": DAY_MS, "key_id": "key_id", "model": "model", "user": "''"},
    {"grain": "u", "length": DAY_MS, "key_id": "''", "model": "''", "user": "coalesce(user_ref, '')"},
)


def load(conn: Connection, videos: int) -> None:
    """Videos, then their rollups as the settle transactions would have left them."""
    statement = text(VIDEOS.replace(":length::float", "CAST(:length AS float)"))
    length = DAYS * DAY_MS
    conn.execute(
        statement, {"organization": ORGANIZATION, "start": START * 1000, "length": length, "videos": videos}
    )
    for family in FAMILIES:
        conn.execute(text(ROLLUPS.format(**family)))


Question = tuple[str, str, dict[str, Any]]


def questions() -> Iterator[Question]:
    """The month by day in one page, and by hour in pages of a week, by each dimension."""
    month = {"start_time": START, "end_time": START + DAYS * 86_400}
    groups = ["", "project_id", "api_key_id", "model", "user_id", "project_id,api_key_id,model"]
    for width, limit in (("1d", 31), ("1h", 168), ("1h", 24)):
        for names in groups:
            lists = {"group_by": names.split(",") if names else []}
            asked = {**month, "bucket_width": width, "limit": limit, "lists": lists}
            yield f"usage {width} x {limit}", names or "-", asked
    for names in ("line_item", "line_item,project_id", "user_id"):
        yield "costs 1d x 31", names, {**month, "limit": 31, "lists": {"group_by": names.split(",")}}
    minutes = {"start_time": START, "end_time": START + 86_400, "bucket_width": "1m", "limit": 1440}
    yield "usage 1m x 1440", "-", minutes
    yield "usage 1m x 1440", "model", {**minutes, "lists": {"group_by": ("model",)}}


async def measure(db: Database, asked: dict[str, Any], *, costs: bool) -> tuple[float, int]:
    """Median milliseconds from question to JSON, and the size of the answer in bytes."""
    service, principal = UsageService(db, Clock()), Principal(ORGANIZATION, "p", "k", frozenset())
    times: list[float] = []
    size = 0
    for _ in range(RUNS):
        begun = time.perf_counter()
        page = await (service.costs_page if costs else service.usage_page)(principal, Asked(**asked))
        times.append((time.perf_counter() - begun) * 1000)
        size = len(page)
    return median(times), size


async def run(url: str, folder: Path, videos: int) -> Sequence[tuple[str, str, float, int]]:
    """Load once, ask everything."""
    db = open_database(Settings(database_url=url, data_dir=folder), Clock())
    try:
        await db.write(create_tables)
        begun = time.perf_counter()
        await db.write(lambda conn: load(conn, videos))
        for table in ("usage_rollups", "videos"):
            await db.read(lambda conn, table=table: conn.execute(text(f"VACUUM ANALYZE {table}")))  # type: ignore[misc]
        print(f"loaded {videos} videos in {time.perf_counter() - begun:.0f} s")
        count = text("SELECT grain, count(*) FROM usage_rollups GROUP BY grain ORDER BY grain")
        print("rollup rows:", dict(await db.read(lambda conn: [tuple(row) for row in conn.execute(count)])))
        begun = time.perf_counter()
        problems = await db.read(verify_rollups)
        print(f"recount: {len(problems)} differences, {time.perf_counter() - begun:.1f} s")
        return [
            (what, names, *await measure(db, asked, costs=what.startswith("costs")))
            for what, names, asked in questions()
        ]
    finally:
        await db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=1_000_000)
    videos = parser.parse_args().videos
    with postgres() as server, TemporaryDirectory() as folder:
        rows = asyncio.run(run(create_database(server, "usage_bench"), Path(folder), videos))
    print(f"{'page':<18}{'by':<30}{'ms':>8}{'bytes':>12}")
    for what, names, milliseconds, size in rows:
        mark = "" if milliseconds < LIMIT_MS else "  OVER"
        print(f"{what:<18}{names:<30}{milliseconds:>8.1f}{size:>12}{mark}")
    if any(row[2] >= LIMIT_MS for row in rows):
        raise SystemExit(f"not every page was answered within {LIMIT_MS} ms")


if __name__ == "__main__":
    main()
