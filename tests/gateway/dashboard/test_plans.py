"""Pages of administration over a long history: no statement reads a large table from end to end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.db_open import open_database
from gateway.settings import Settings
from tests.bench.history import fill, plan_of
from tests.gateway.dashboard.visits import visiting
from tests.gateway.live import settings_for
from tests.gateway.test_query_plans import KNOWN as OF_PROCESSES
from tests.gateway.test_query_plans import recorded
from tests.postgres import execute

HISTORY, WAITING, OTHERS = 20_000, 100, 20_000
LARGE = ("videos", "ledger_entries", "ledger_lines", "outbox", "audit_log", "usage_rollups", "timing_rollups")
PATHS = (
    "/", "/?period=24h&by=key", "/?period=12mo&by=user", "/overview.csv?period=90d", "/live", "/budgets",
    "/playground", "/playground/recent", "/videos", "/videos?status=failed", "/videos?model=acme/fast",
    "/keys", "/webhooks", "/webhooks/default", "/projects", "/audit", "/audit?event=project.created", "/billing?paid=1",
    "/billing/ledger", "/billing/ledger?kind=capture", "/billing/ledger?kind=refund", "/billing/operator",
)  # fmt: skip
KNOWN = {
    **OF_PROCESSES,
    "audit_log.type IN": "a rare kind of change; the log grows with what people do, not with videos",
}
"""What may read all of a table, and why."""
AUDIT = f"""
INSERT INTO audit_log (id, organization_id, effective_at, type, object_type, object_id, actor_is_operator)
SELECT 'audit_' || n, 'org_' || n % 9, 1700000000000 + n, 'api_key.created', 'api_key', 'key_' || n, false
FROM generate_series(1, {OTHERS}) AS n
"""
ROLLUPS = f"""
INSERT INTO usage_rollups (organization_id, grain, bucket, project_id, key_id, model, user_ref, completed, failed, billed_ms,
    revenue, fees, quoted, upstream_cost)
SELECT 'org_' || n % 9, 'd', 86400000 * (n / 9)::bigint, 'proj_1', 'key_1', 'acme/fast', '', 1, 0, 8000, 800000, 0, 800000, 0
FROM generate_series(1, {OTHERS}) AS n
"""
TIMINGS = """
INSERT INTO timing_rollups (organization_id, grain, bucket, project_id, key_id, model, measure, bin, videos)
SELECT organization_id, grain, bucket, project_id, key_id, model, 'w', 8, 1 FROM usage_rollups
"""
OUTBOX = f"""
INSERT INTO outbox (id, event_id, event_type, project_id, video_id, url, origin, body, state, lease_until, fence, tries,
    created_at)
SELECT 'whd_' || n, 'evt_' || n, 'video.completed', 'proj_' || n % 9, 'video_' || n, 'https://a.example',
    'https://a.example', '{{}}', 'delivered', 0, 0, 1, 1700000000000 + n
FROM generate_series(1, {OTHERS}) AS n
"""

pytestmark = pytest.mark.timeout(180)


async def filled(url: str) -> None:
    database = open_database(Settings(database_url=url), Clock())
    try:
        await fill(database, HISTORY, WAITING, asleep=True)
    finally:
        await database.close()
    for statement in (AUDIT, OUTBOX, ROLLUPS, TIMINGS, "VACUUM ANALYZE"):
        execute(url, statement)


async def whole(url: str, statements: dict[str, Any]) -> list[str]:
    database = open_database(Settings(database_url=url), Clock())
    found = []
    try:
        for statement, parameters in statements.items():
            plan = await database.read(lambda conn, s=statement, p=parameters: plan_of(conn, s, p))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
            known = any(each in statement for each in KNOWN)
            if not known and any(f"Seq Scan on {table} " in plan for table in LARGE):
                found.append(f"{statement}\n{plan}")
    finally:
        await database.close()
    return found


def test_no_page_reads_a_large_table_whole(postgres_url: str, tmp_path: Path) -> None:
    with visiting(settings_for(tmp_path, database_url=postgres_url)) as visit:
        asyncio.run(filled(postgres_url))
        with recorded() as statements:
            for path in PATHS:
                visit.page(path)
    asked = {text: values for text, values in statements.items() if text.startswith(("SELECT", "WITH"))}
    assert len(asked) > 20
    found = asyncio.run(whole(postgres_url, asked))
    assert not found, "\n\n".join(found)
