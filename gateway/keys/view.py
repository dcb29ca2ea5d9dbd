"""Public JSON of organizations, projects and keys, in OpenAI's admin shapes. Times are Unix seconds."""

from typing import Any

from gateway.keys.store import AnyRow


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000


def public_organization(row: AnyRow) -> dict[str, Any]:
    """Shape the organization object."""
    return {
        "id": row.id,
        "object": "organization",
        "name": row.name,
        "created_at": _seconds(row.created_at),
    }


def public_project(row: AnyRow) -> dict[str, Any]:
    """Shape the project object."""
    return {
        "id": row.id,
        "object": "organization.project",
        "name": row.name,
        "organization_id": row.organization_id,
        "created_at": _seconds(row.created_at),
        "archived_at": _seconds(row.archived_at),
        "status": "active" if row.archived_at is None else "archived",
    }


def public_key(row: AnyRow) -> dict[str, Any]:
    """Shape the key object, never with its secret; `models` and limits are null where there is no limit."""
    return {
        "id": row.id,
        "object": "organization.project.api_key",
        "name": row.name,
        "redacted_value": row.redacted_value,
        "project_id": row.project_id,
        "created_at": _seconds(row.created_at),
        "last_used_at": None,
        "expires_at": _seconds(row.expires_at),
        "owner": {"type": "service_account"},
        "owner_project_access": "active",
        "scopes": sorted(row.scopes),
        "models": None if row.models is None else sorted(row.models),
        "requests_per_minute": row.requests_per_minute,
        "concurrent_videos": row.concurrent_videos,
    }
