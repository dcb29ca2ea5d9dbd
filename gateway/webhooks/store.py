"""SQL over a project's webhook endpoints and their deliveries. Every statement is scoped by the project."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, select, update

from gateway.db import now_ms
from gateway.errors import BadRequest, NotFound
from gateway.jobs.tables import outbox
from gateway.webhooks.tables import webhook_endpoints as endpoints
from gateway.webhooks.view import DEFAULT_ENDPOINT


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which part of a list: at most `limit` rows after the id `after`."""

    limit: int = 20
    after: str | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class PageRows:
    """Rows of one page, and whether more follow."""

    rows: Sequence[Row[Any]]
    has_more: bool


def endpoint(conn: Connection, project_id: str, endpoint_id: str) -> Row[Any]:
    """Read a live endpoint of the project. NotFound for others."""
    row = conn.execute(_live(project_id).where(endpoints.c.id == endpoint_id)).first()
    if row is None:
        raise NotFound(
            f"No webhook endpoint with the id '{endpoint_id}'.",
            param="webhook_endpoint_id",
            code="webhook_endpoint_not_found",
        )
    return row


def count_endpoints(conn: Connection, project_id: str) -> int:
    """How many live endpoints the project has."""
    return conn.scalar(select(func.count()).select_from(_live(project_id).subquery())) or 0


def page_of_endpoints(conn: Connection, project_id: str, query: PageQuery) -> PageRows:
    """Read live endpoints. BadRequest for an unknown cursor."""
    return _page(conn, endpoints, _live(project_id), query)


def change_endpoint(
    conn: Connection, project_id: str, endpoint_id: str, values: Mapping[str, Any]
) -> Row[Any]:
    """Write new values, answer the row. NotFound."""
    conn.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint(conn, project_id, endpoint_id).id)
        .values(dict(values))
    )
    return endpoint(conn, project_id, endpoint_id)


def delete_endpoint(conn: Connection, project_id: str, endpoint_id: str, now: int) -> None:
    """Delete it with its secrets; what still waits for it will not be sent. NotFound."""
    row = endpoint(conn, project_id, endpoint_id)
    gone = update(endpoints).values(
        deleted_at=now, secret=b"", previous_secret=None, previous_secret_until=None
    )
    conn.execute(gone.where(endpoints.c.id == row.id))
    conn.execute(
        update(outbox)
        .where(outbox.c.endpoint_id == row.id, outbox.c.state == "pending")
        .values(state="dead", due=None, fence=outbox.c.fence + 1, last_status="the endpoint was deleted")
    )


def page_of_deliveries(conn: Connection, project_id: str, endpoint_id: str, query: PageQuery) -> PageRows:
    """Read deliveries. BadRequest for an unknown cursor."""
    return _page(conn, outbox, select(outbox).where(*_deliveries(project_id, endpoint_id)), query)


def deliveries_of_video(conn: Connection, project_id: str, video_id: str, limit: int) -> Sequence[Row[Any]]:
    """Read what was or will be told of a video, the latest first."""
    mine = outbox.c.video_id == video_id, outbox.c.project_id == project_id
    return conn.execute(select(outbox).where(*mine).order_by(outbox.c.id.desc()).limit(limit)).all()


def redeliver(conn: Connection, project_id: str, endpoint_id: str, delivery_id: str) -> Row[Any]:
    """Make a delivery due now, with all its tries before it; a try under way counts no more. NotFound."""
    row = conn.execute(
        update(outbox)
        .where(*_deliveries(project_id, endpoint_id), outbox.c.id == delivery_id)
        .values(
            state="pending",
            due=now_ms(),
            lease_until=0,
            owner=None,
            tries=0,
            delivered_at=None,
            fence=outbox.c.fence + 1,
        )
        .returning(*outbox.c)
    ).first()
    if row is None:
        raise NotFound(
            f"No delivery with the id '{delivery_id}' at this endpoint.",
            param="delivery_id",
            code="delivery_not_found",
        )
    return row


def _live(project_id: str) -> Select[Any]:
    return select(endpoints).where(endpoints.c.project_id == project_id, endpoints.c.deleted_at.is_(None))


def _deliveries(project_id: str, endpoint_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    own = (
        outbox.c.endpoint_id.is_(None)
        if endpoint_id == DEFAULT_ENDPOINT
        else outbox.c.endpoint_id == endpoint_id
    )
    return own, outbox.c.project_id == project_id


def _page(conn: Connection, table: Table, statement: Select[Any], query: PageQuery) -> PageRows:
    if query.after is not None:
        if conn.execute(statement.where(table.c.id == query.after)).first() is None:
            raise BadRequest(f"'{query.after}' is not in this list.", param="after", code="invalid_cursor")
        beyond = table.c.id < query.after if query.descending else table.c.id > query.after
        statement = statement.where(beyond)
    order = table.c.id.desc() if query.descending else table.c.id
    rows = conn.execute(statement.order_by(order).limit(query.limit + 1)).all()
    return PageRows(rows[: query.limit], len(rows) > query.limit)
