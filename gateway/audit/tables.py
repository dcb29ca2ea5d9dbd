"""Who changed what. Rows are only ever added. Times are milliseconds since the epoch."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, String, Table

from gateway.db import metadata

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64)),  # whose the object is; NULL for what is of the installation
    Column("project_id", String(64)),
    Column("effective_at", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),  # "api_key.created"
    Column("object_type", String(32), nullable=False),
    Column("object_id", String(200), nullable=False),
    Column("actor_key_id", String(64)),  # NULL for the system itself
    Column("actor_organization_id", String(64)),
    Column("actor_is_operator", Boolean, nullable=False),
    Column("before", JSON),  # the fields that changed, without secrets: see gateway.audit.notes
    Column("after", JSON),
    Column("request_id", String(64)),
    Column("ip_address", String(64)),
    Index("ix_audit_log_organization_id", "organization_id", "effective_at", "id"),
    Index("ix_audit_log_effective_at", "effective_at", "id"),
)
