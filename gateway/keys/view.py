"""Public JSON of organizations, projects and keys, in OpenAI's admin shapes. Times are Unix seconds."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gateway.keys.store import AnyRow
from gateway.principal import Scope


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Organization(_Answer):
    """Who pays."""

    id: str
    object: Literal["organization"] = "organization"
    name: str
    created_at: int


class NewOrganization(Organization):
    """An organization just made, with the project that was made in it."""

    default_project_id: str


class Project(_Answer):
    """Who owns videos, files, webhook endpoints and keys."""

    id: str
    object: Literal["organization.project"] = "organization.project"
    name: str
    organization_id: str
    created_at: int
    archived_at: int | None
    status: Literal["active", "archived"]


class KeyOwner(_Answer):
    """A key belongs to its project, not to a person."""

    type: Literal["service_account"] = "service_account"


class ProjectApiKey(_Answer):
    """Who calls; never with its secret. `models` and limits are null where there is no limit.

    `last_used_at` is right to five minutes. `created_by` is the person who made it on a page, else null.
    """

    id: str
    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    name: str
    redacted_value: str
    project_id: str
    created_at: int
    last_used_at: int | None
    created_by: str | None
    expires_at: int | None
    owner: KeyOwner = KeyOwner()
    owner_project_access: Literal["active", "inactive"] = "active"
    scopes: list[str]
    models: list[str] | None
    requests_per_minute: int | None
    concurrent_videos: int | None


class NewProjectApiKey(ProjectApiKey):
    """A key just made: `value` is the secret, shown this once (null in a replay of the same request)."""

    value: str | None


class DeletedProjectApiKey(_Answer):
    """A key that was just revoked."""

    id: str
    object: Literal["organization.project.api_key.deleted"] = "organization.project.api_key.deleted"
    deleted: Literal[True] = True


class _Listed(_Answer):
    object: Literal["list"] = "list"
    first_id: str | None
    last_id: str | None
    has_more: bool


class OrganizationList(_Listed):
    """One page of organizations."""

    data: list[Organization]


class ProjectList(_Listed):
    """One page of projects."""

    data: list[Project]


class ProjectApiKeyList(_Listed):
    """One page of keys."""

    data: list[ProjectApiKey]


def public_organization(row: AnyRow) -> dict[str, Any]:
    """Shape the organization object."""
    return Organization(id=row.id, name=row.name, created_at=row.created_at // 1000).model_dump()


def public_project(row: AnyRow) -> dict[str, Any]:
    """Shape the project object."""
    return Project(
        id=row.id,
        name=row.name,
        organization_id=row.organization_id,
        created_at=row.created_at // 1000,
        archived_at=_seconds(row.archived_at),
        status="active" if row.archived_at is None else "archived",
    ).model_dump()


def public_key(row: AnyRow) -> dict[str, Any]:
    """Shape the key object. Scopes that this release does not know are left out: they give nothing."""
    return ProjectApiKey(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted_value,
        project_id=row.project_id,
        created_at=row.created_at // 1000,
        last_used_at=_seconds(row.last_used_at),
        created_by=row.created_by,
        expires_at=_seconds(row.expires_at),
        scopes=sorted(scope for scope in row.scopes if scope in set(Scope)),
        models=None if row.models is None else sorted(row.models),
        requests_per_minute=row.requests_per_minute,
        concurrent_videos=row.concurrent_videos,
    ).model_dump()


def deleted_key(key_id: str) -> dict[str, Any]:
    """Shape the answer to a revocation."""
    return DeletedProjectApiKey(id=key_id).model_dump()


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
