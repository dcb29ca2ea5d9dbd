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
STATEMENTS: Final = (
    """UPDATE videos SET project_id = 'proj_default', key_id = 'key_' || substr(id, 38), request = '{request}',
    prompt = 'a ' || (ARRAY['red', 'blue', 'green', 'white'])[1 + abs(hashtext(id)) % 4] || ' thing, number ' ||
    abs(hashtext(id)), model = 'acme/model-' || abs(hashtext(id)) % 5""",
    """INSERT INTO usage_rollups (organization_id, grain, bucket, project_id, key_id, model, user_ref, completed, failed,
    billed_ms, revenue, fees, quoted, upstream_cost)
    SELECT 'org_default', grain, {today} - n * width::bigint, 'proj_default', 'key_' || k, 'acme/model-' || m, '', 7, 1, 56000,
    5600000, 0, 5600000, 100 FROM (VALUES ('h', 3600000, 72), ('d', 86400000, 365)) AS grains(grain, width, count),
    LATERAL generate_series(0, count - 1) AS n, generate_series(1, 20) AS k, generate_series(1, 5) AS m""",
    """INSERT INTO timing_rollups (organization_id, grain, bucket, project_id, key_id, model, measure, bin, videos)
    SELECT organization_id, grain, bucket, project_id, key_id, model, measure, bin, 1
    FROM usage_rollups, (VALUES ('w'), ('r')) AS measures(measure), generate_series(8, 14) AS bin""",
    "ANALYZE",
)


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
        today = int(time.time() * 1000) // DAY_MS * DAY_MS
        for statement in STATEMENTS:
            filled = (
                statement.replace("{request}", REQUEST).replace("{today}", str(today)).replace(":", "\\:")
            )
            await database.write(partial(Connection.execute, statement=text(filled)))
    finally:
        await database.close()


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
