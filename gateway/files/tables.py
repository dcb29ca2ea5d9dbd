"""Uploaded files and characters of a project. Bytes lie in storage under `storage_key`."""

from sqlalchemy import JSON, BigInteger, Column, Index, String, Table

from gateway.db import metadata

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project_id", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("filename", String(255), nullable=False),
    Column("media_type", String(100), nullable=False),  # sniffed
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("facts", JSON, nullable=False),  # {width, height, duration_ms} where it has them
    Column("storage_key", String(300), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("deleted_at", BigInteger),
    Index("ix_files_project_id_id", "project_id", "id"),
    Index("ix_files_expires_at", "expires_at"),
)

characters = Table(
    "characters",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project_id", String(64), nullable=False),
    Column("name", String(80), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("storage_key", String(300), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_characters_project_id_id", "project_id", "id"),
)
