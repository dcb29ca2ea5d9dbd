"""A video as clients see it: OpenAI's fields, exactly, plus onereel's own."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Column, RowMapping

from billing.money import format_usd
from gateway.videos.states import PUBLIC, State
from gateway.videos.tables import videos

Row = Mapping[str, Any] | RowMapping
"""A row of `videos` by column name: `.mappings()` of a result, or the values about to be inserted."""

_SHOWN: Final = (
    "id",
    "group_id",
    "operation",
    "model",
    "prompt",
    "seconds",
    "size",
    "source_video_id",
    "state",
    "progress",
    "version",
    "error_code",
    "error_message",
    "created_at",
    "completed_at",
    "expires_at",
    "user_ref",
    "metadata",
    "warnings",
    "hold_micros",
    "cost_micros",
    "cost_status",
    "provenance",
)
PUBLIC_COLUMNS: Final[tuple[Column[Any], ...]] = tuple(videos.c[name] for name in _SHOWN)
"""What `public_video` reads."""


def public_video(row: Row, group: Sequence[str] = ()) -> dict[str, Any]:
    """Build the JSON of one video; times in unix seconds, money in USD as text."""
    body: dict[str, Any] = {
        "id": row["id"],
        "object": "video",
        "model": row["model"],
        "status": PUBLIC[row["state"]],
        "progress": row["progress"],
        "created_at": row["created_at"] // 1000,
        "completed_at": _unix(row["completed_at"]),
        "expires_at": _unix(row["expires_at"]),
        "prompt": row["prompt"],
        "size": row["size"],
        "seconds": row["seconds"],
        "remixed_from_video_id": row["source_video_id"] if row["operation"] == "remix" else None,
        "error": _error(row),
        "operation": row["operation"],
        "cost": _cost(row),
        "provenance": row["provenance"],
        "metadata": row["metadata"] or {},
        "warnings": row["warnings"] or [],
    }
    if row["user_ref"] is not None:
        body["user"] = row["user_ref"]
    if group:
        body["group"] = list(group)
    return body


def _unix(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000


def _error(row: Row) -> dict[str, Any] | None:
    if row["state"] != State.FAILED:
        return None
    return {
        "code": row["error_code"] or "provider_error",
        "message": row["error_message"] or "The video failed.",
    }


def _cost(row: Row) -> dict[str, str]:
    status, micros = row["cost_status"], row["cost_micros"]
    if micros is None:
        micros = 0 if status == "released" else row["hold_micros"]
    return {"currency": "usd", "amount": format_usd(micros), "status": status}
