"""Public JSON of webhook endpoints and deliveries. Times are Unix seconds."""

from typing import Any, Final

from sqlalchemy import Row

from gateway.webhooks.default_secret import DefaultSecret
from gateway.webhooks.event import EVENT_TYPES
from gateway.webhooks.signing import secret_hint

DEFAULT_ENDPOINT: Final = "default"
"""The id under which a project's secret for per-request `webhook_url` deliveries is managed."""

_STATES: Final = {"pending": "pending", "delivered": "delivered", "dead": "failed"}


def public_endpoint(row: Row[Any]) -> dict[str, Any]:
    """Shape the endpoint object, never with its secret."""
    return {
        "id": row.id,
        "object": "webhook_endpoint",
        "name": row.name,
        "url": row.url,
        "event_types": list(row.event_types),
        "created_at": row.created_at // 1000,
        "updated_at": row.updated_at // 1000,
        "signing_secret_hint": row.secret_hint,
    }


def public_default_endpoint(secret: DefaultSecret) -> dict[str, Any]:
    """Shape what stands for every request's own `webhook_url`: it has a secret and deliveries, but no address."""
    return {
        "id": DEFAULT_ENDPOINT,
        "object": "webhook_endpoint",
        "name": "Each request's webhook_url",
        "url": "",
        "event_types": list(EVENT_TYPES),
        "created_at": secret.created_at // 1000,
        "updated_at": secret.rotated_at // 1000,
        "signing_secret_hint": secret_hint(secret.secret),
    }


def public_delivery(row: Row[Any], endpoint_url: str | None) -> dict[str, Any]:
    """Shape one delivery: pending, delivered or failed, after how many attempts, with the last answer."""
    return {
        "id": row.id,
        "object": "webhook_endpoint.delivery",
        "webhook_endpoint_id": row.endpoint_id or DEFAULT_ENDPOINT,
        "url": endpoint_url or row.url,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "video_id": row.video_id,
        "status": _STATES[row.state],
        "attempts": row.tries,
        "last_result": row.last_status,
        "created_at": row.created_at // 1000,
        "delivered_at": None if row.delivered_at is None else row.delivered_at // 1000,
        "next_attempt_at": None if row.due is None else row.due // 1000,
    }
