"""How long the dashboard's pages take with a hundred thousand videos in one project on PostgreSQL. By hand:

python -m tests.bench.pages [--videos 100000] [--rounds 20]

Prints the median and the 95th percentile of the whole answer in milliseconds, beside /health/live as a floor in the same run.
"""

import argparse
import asyncio
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from sqlalchemy import Connection, text

from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.settings import Settings
from tests.bench.history import fill
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.postgres import create_database, postgres

FLOOR: Final = "/health/live"
REQUEST: Final = json.dumps({"seconds": "8", "size": "1280x720", "models": ["acme/fast"]})
DAY_MS: Final = 86_400_000
YEAR_MS: Final = 365 * DAY_MS
STATEMENTS: Final = (
    """UPDATE videos SET project_id = 'proj_default', key_id = 'key_' || substr(id, 38), request = '{request}',
    prompt = 'a ' || (ARRAY['red', 'blue', 'green', 'white'])[1 + abs(hashtext(id)) % 4] || ' thing, number ' ||
    abs(hashtext(id)), model = 'acme/model-' || abs(hashtext(id)) % 5,
    created_at = {now} - abs(hashtext('t' || id))::bigint * 15 % {year}""",
    "UPDATE videos SET completed_at = created_at + 5000 + abs(hashtext('r' || id)) % 115000",
    """INSERT INTO usage_rollups (organization_id, grain, bucket, project_id, key_id, model, user_ref, completed, failed,
    billed_ms, revenue, fees, quoted, upstream_cost)
    SELECT organization_id, grain, completed_at / width * width, project_id, key_id, model, '', count(*), 0, sum(billed_ms),
    sum(cost_micros), 0, sum(hold_micros), sum(cost_micros) / 2
    FROM videos, (VALUES ('h', 3600000::bigint), ('d', 86400000)) AS grains(grain, width) GROUP BY 1, 2, 3, 4, 5, 6""",
    """INSERT INTO timing_rollups (organization_id, grain, bucket, project_id, key_id, model, measure, bin, videos)
    SELECT organization_id, grain, completed_at / width * width, project_id, key_id, model, measure,
    floor(4 * ln(took / 100) / ln(2)), count(*)
    FROM videos, (VALUES ('h', 3600000::bigint), ('d', 86400000)) AS grains(grain, width),
    LATERAL (VALUES ('w', (200 + abs(hashtext('w' || id)) % 4800)::float), ('r', (completed_at - created_at)::float))
    AS measures(measure, took) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8""",
    "ANALYZE",
)
"""The videos end over a year, with 16 keys and 5 models, and the rollups are theirs."""


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with postgres() as server, tempfile.TemporaryDirectory(prefix="pages-") as folder:
        settings = settings_for(Path(folder), database_url=create_database(server, "pages"))
        with visiting(settings) as visit:
            print(f"filling PostgreSQL with {options.videos} videos", flush=True)
            asyncio.run(_fill(settings, options.videos))
            _report(visit, options.rounds)


async def _fill(settings: Settings, count: int) -> None:
    database = open_database(settings, Clock())
    try:
        await fill(database, count, 0)
        values = {"{request}": REQUEST, "{now}": str(int(time.time() * 1000)), "{year}": str(YEAR_MS)}
        for statement in STATEMENTS:
            filled = statement
            for name, value in values.items():
                filled = filled.replace(name, value)
            await database.write(partial(Connection.execute, statement=text(filled.replace(":", "\\:"))))
        for table in ("usage_rollups", "timing_rollups"):
            print(table, await database.read(partial(_count, table)), "rows", flush=True)
    finally:
        await database.close()


def _count(table: str, conn: Connection) -> int:
    return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _paths(visit: Visit) -> list[str]:
    page = visit.page("/videos")
    video = page[page.index('href="/videos/video_') + 6 :].partition('"')[0]
    return [
        "/",
        "/?period=24h&by=key",
        "/?period=12mo&by=model",
        "/overview.csv?period=90d",
        "/videos",
        "/videos?q=red",
        "/videos?q=nothing-like-that",
        "/videos?status=failed",
        "/videos?model=acme/model-3",
        video,
        "/models",
        "/playground",
        "/keys",
        "/webhooks",
        "/billing",
        "/budgets",
        "/audit",
        "/members",
        "/operator/upstreams",
        "/operator/queue",
        "/operator/unknown",
        "/operator/reconciliation",
        "/operator/organizations",
    ]


def _report(visit: Visit, rounds: int) -> None:
    paths = [FLOOR, *_paths(visit)]
    took: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(rounds):
        for path in paths:
            began = time.perf_counter()
            answer = visit.client.get(path)
            took[path].append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, f"{path} answered {answer.status_code}"
    floor = median(took[FLOOR])
    print(f"{'page':<40}{'median ms':>10}{'p95 ms':>9}{'x floor':>9}")
    for path in paths:
        middle, late = median(took[path]), quantiles(took[path], n=20)[-1]
        name = "/videos/{id}" if path.startswith("/videos/video_") else path
        print(f"{name:<40}{middle:>10.1f}{late:>9.1f}{middle / floor:>9.1f}")


if __name__ == "__main__":
    main()
