"""What a client event is: its types, its id, its body."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

BUDGET_REACHED: Final = "budget.threshold_reached"
EVENT_TYPES: Final = ("video.completed", "video.failed", BUDGET_REACHED)


def video_event_id(video_id: str, event_type: str) -> str:
    """Derive the id of the one event of this type that the video can ever have."""
    return "evt_" + hashlib.sha256(f"{video_id}:{event_type}".encode()).hexdigest()[:32]


def budget_event_id(budget_id: str, amount: int, period_start: int, percent: int) -> str:
    """Derive the id of the one event of a budget's mark in a period; a budget changed since has marks of its own."""
    text = f"{budget_id}:{amount}:{period_start}:{percent}"
    return "evt_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def event_body(event_id: str, event_type: str, data: Mapping[str, Any], created_at: int) -> str:
    """Make the JSON text that is signed and sent, the same at every try. `created_at` in Unix seconds."""
    event = {
        "id": event_id,
        "object": "event",
        "created_at": created_at,
        "type": event_type,
        "data": dict(data),
    }
    return json.dumps(event, separators=(",", ":"))


def origin_of(url: str) -> str:
    """scheme://host:port in lower case: what one receiver is."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname or ''}:{port}"[:300]
