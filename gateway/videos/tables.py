"""The video: the one truth about a request. All times are milliseconds since the epoch, money is micro-USD."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, text

from gateway.db import metadata

WORDS = (
    "to_tsvector('simple'::regconfig, "
    "replace(project_id, '_', '') || ' ' || regexp_replace(lower(coalesce(prompt, '')), '[\\W_]+', ' ', 'g'))"
)
"""The words of a video's prompt, and its project as one of them: PostgreSQL's expression, as its index has it.

The project is a single word: two would be a phrase, for which PostgreSQL takes every prompt that it finds apart again.
"""

videos = Table(
    "videos",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("group_id", String(64)),
    Column("operation", String(16), nullable=False),
    Column("model", String(200), nullable=False),
    Column("prompt", Text),
    Column("seconds", String(16), nullable=False),  # billed length, for an extension the stitched total
    Column("size", String(16), nullable=False),  # asked for; the true pixel size once completed
    Column("source_video_id", String(64)),
    # Everything the submit needs beside the columns: see gateway.videos.request.StoredRequest
    Column("request", JSON, nullable=False),
    Column("state", String(24), nullable=False),
    Column("progress", Integer, nullable=False, default=0),
    Column("version", Integer, nullable=False, default=1),  # rises with every visible change; the SSE id
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("deadline", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("user_ref", String(256)),
    Column("metadata", JSON),
    Column("warnings", JSON),
    Column("hold_micros", BigInteger, nullable=False, default=0),
    Column("cost_micros", BigInteger),
    Column("cost_status", String(12), nullable=False),  # held | captured | released
    Column(
        "billed_ms", BigInteger
    ),  # what was made and billed, in milliseconds: of an extension what was added
    # hash of key, path, canonical fields and file hashes; SDK retries find their first create by it
    Column("fingerprint", String(64)),
    Column("retry_claims", Integer, nullable=False, default=0),
    Column("content_key", String(300)),
    Column("content_type", String(100)),
    Column("content_bytes", BigInteger),
    Column("content_sha256", String(64)),
    Column("duration_ms", BigInteger),
    Column("trace", String(64)),  # the W3C traceparent of its create; NULL where that was not traced
    Column("provenance", JSON),  # what the stored file says of its origin: see gateway.jobs.provenance
    Index("ix_videos_project_id_id", "project_id", "id"),
    Index(
        "ix_videos_completed_at_organization_id",
        "completed_at",
        "organization_id",
        sqlite_where=text("completed_at IS NOT NULL"),
        postgresql_where=text("completed_at IS NOT NULL"),
    ),
    Index("ix_videos_fingerprint_created_at", "fingerprint", "created_at"),
    Index(
        "ix_videos_expires_at",
        "expires_at",
        sqlite_where=text("content_key IS NOT NULL"),
        postgresql_where=text("content_key IS NOT NULL"),
    ),
    Index("ix_videos_source_video_id", "source_video_id"),
    # what people look for in the gallery among all that were made
    Index("ix_videos_project_id_model_id", "project_id", "model", "id"),
    Index("ix_videos_project_id_key_id_id", "project_id", "key_id", "id"),
    Index(
        "ix_videos_live",
        "project_id",
        "id",
        sqlite_where=text("completed_at IS NULL"),
        postgresql_where=text("completed_at IS NULL"),
    ),
    Index(
        "ix_videos_failed",
        "project_id",
        "id",
        sqlite_where=text("error_code IS NOT NULL"),
        postgresql_where=text("error_code IS NOT NULL"),
    ),
    Index("ix_videos_words", text(WORDS), postgresql_using="gin").ddl_if(dialect="postgresql"),
    Index(
        "ix_videos_group_id",
        "group_id",
        sqlite_where=text("group_id IS NOT NULL"),
        postgresql_where=text("group_id IS NOT NULL"),
    ),
)

share_links = Table(
    "share_links",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),  # hex SHA-256 of what is in the link
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("video_id", String(64), nullable=False),
    Column("with_prompt", Boolean, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("ix_share_links_video_id", "video_id"),
    Index("ix_share_links_expires_at", "expires_at"),
)
