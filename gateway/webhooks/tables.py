"""Where a project wants to be told: endpoints with their signing secrets (encrypted at rest)."""

from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, String, Table, Text

from gateway.db import metadata

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project_id", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", JSON, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("previous_secret", LargeBinary),
    Column("previous_secret_until", BigInteger),
    Column("secret_hint", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Index("ix_webhook_endpoints_project_id_id", "project_id", "id"),
)
