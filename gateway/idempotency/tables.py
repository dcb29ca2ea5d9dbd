"""Stored answers of accepted requests that carried an Idempotency-Key."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from gateway.db import metadata

idempotency_records = Table(
    "idempotency_records",
    metadata,
    Column("project_id", String(64), nullable=False),
    Column("method", String(8), nullable=False),
    Column("path", String(300), nullable=False),
    Column("key", String(255), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("project_id", "method", "path", "key"),
    Index("ix_idempotency_records_created_at", "created_at"),
)
