"""Budget marks as client events and log lines, written in the transaction that reached them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.budgets import text_of
from billing.ledger import BudgetAlert
from gateway.jobs.outbox_rows import delivery_row
from gateway.jobs.tables import outbox
from gateway.keys.tables import api_keys, projects
from gateway.webhooks.event import BUDGET_REACHED, budget_event_id, event_body
from gateway.webhooks.tables import webhook_endpoints as endpoints

log = structlog.get_logger(__name__)


def enqueue_budget_alerts(conn: Connection, alerts: Sequence[BudgetAlert], now: int) -> None:
    """Tell every subscribed endpoint of the projects that the budget covers; each mark once a period."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    for alert in alerts:
        budget = alert.budget
        event_id = budget_event_id(budget.id, budget.amount, alert.period_start, alert.percent)
        data = _data(alert)
        log.warning("budget_threshold_reached", organization_id=budget.organization_id, **data)
        body = event_body(event_id, BUDGET_REACHED, data, now // 1000)
        rows: dict[str, dict[str, Any]] = {}
        for endpoint in _listening(conn, budget):
            common = {
                "event_id": event_id,
                "event_type": BUDGET_REACHED,
                "project_id": endpoint.project_id,
                "video_id": None,
                "body": body,
                "state": "pending",
                "due": now,
                "created_at": now,
            }
            rows.setdefault(endpoint.url, delivery_row(common, endpoint.url, endpoint.id))
        if rows:  # told before, where a budget was changed and changed back: that must not fail the create
            conn.execute(make(outbox).on_conflict_do_nothing(), list(rows.values()))


def _data(alert: BudgetAlert) -> dict[str, Any]:
    budget = alert.budget
    return {
        "id": budget.id,
        "scope": budget.scope,
        "scope_id": budget.scope_id,
        "period": budget.period,
        "period_start": datetime.fromtimestamp(alert.period_start // 1000, UTC).isoformat(),
        "percent": alert.percent,
        "used": text_of(budget.unit, alert.used),
        "amount": text_of(budget.unit, budget.amount),
        "hard": budget.hard,
    }


def _listening(conn: Connection, budget: Any) -> list[Any]:
    covered = select(projects.c.id).where(
        projects.c.organization_id == budget.organization_id, projects.c.archived_at.is_(None)
    )
    if budget.scope == "project":
        covered = covered.where(projects.c.id == budget.scope_id)
    elif budget.scope == "key":
        covered = select(api_keys.c.project_id).where(api_keys.c.id == budget.scope_id)
    rows = conn.execute(
        select(endpoints.c.id, endpoints.c.project_id, endpoints.c.url, endpoints.c.event_types)
        .where(endpoints.c.project_id.in_(covered), endpoints.c.deleted_at.is_(None))
        .order_by(endpoints.c.id)
    )
    return [row for row in rows if BUDGET_REACHED in row.event_types]
