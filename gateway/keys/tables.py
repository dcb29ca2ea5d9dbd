"""Who pays (organization), who owns (project), who calls (API key). Times are milliseconds since the epoch."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, String, Table

from gateway.db import metadata

organizations = Table(
    "organizations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("plan", String(64), nullable=False, server_default="unlimited"),
    Column("margin", String(32)),  # decimal; instead of the plan's
    Column("created_at", BigInteger, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    # default secret for per-request webhook_url deliveries, encrypted
    Column("webhook_secret", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Index("ix_projects_organization_id", "organization_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # hex SHA-256 of the key
    Column("redacted_value", String(40), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON),  # NULL = every model
    Column("requests_per_minute", Integer),
    Column("concurrent_videos", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),  # right to a few minutes: see gateway.keys.last_use
    Column("created_by", String(64)),  # the person who made it on a page; NULL for one made by another key
    Index("ix_api_keys_project_id_id", "project_id", "id"),
)
