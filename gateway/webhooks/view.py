"""Public JSON of webhook endpoints and deliveries. Times are Unix seconds."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Row

from gateway.webhooks.default_secret import DefaultSecret
from gateway.webhooks.event import EVENT_TYPES
from gateway.webhooks.signing import secret_hint

DEFAULT_ENDPOINT: Final = "default"
"""The id under which a project's secret for per-request `webhook_url` deliveries is managed."""

_STATES: Final = {"pending": "pending", "delivered": "delivered", "dead": "failed"}


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class _List(_Answer):
    object: Literal["list"] = "list"
    first_id: str | None
    last_id: str | None
    has_more: bool


class WebhookEndpoint(_Answer):
    """An address that is told of finished videos; never with its secret."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[str]
    created_at: int
    updated_at: int
    signing_secret_hint: str


class WebhookEndpointWithSecret(WebhookEndpoint):
    """An endpoint just made or given a new secret."""

    signing_secret: str


class WebhookEndpointList(_List):
    """One page of endpoints."""

    data: list[WebhookEndpoint]


class DeletedWebhookEndpoint(_Answer):
    """An endpoint that was just deleted."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class WebhookEndpointTest(_Answer):
    """The receiver's answer to a sample event, whatever its status."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class WebhookEventTypeList(_Answer):
    """What an endpoint can subscribe to."""

    object: Literal["list"] = "list"
    data: list[str]


class WebhookDelivery(_Answer):
    """One event on its way to one address."""

    id: str
    object: Literal["webhook_endpoint.delivery"] = "webhook_endpoint.delivery"
    webhook_endpoint_id: str
    url: str
    event_id: str
    event_type: str
    video_id: str | None
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    last_result: str | None
    created_at: int
    delivered_at: int | None
    next_attempt_at: int | None


class WebhookDeliveryList(_List):
    """One page of deliveries."""

    data: list[WebhookDelivery]


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
