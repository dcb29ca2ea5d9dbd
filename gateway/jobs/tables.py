"""Scheduling: jobs say what is due, attempts say what was sent upstream, slots say how much may run at once.

All times are milliseconds since the epoch (`gateway.db.now_ms`), money is micro-USD.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from gateway.db import metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),  # the video's id, or the attempt's for a watch job
    Column("kind", String(8), nullable=False),  # video | watch
    Column("state", String(24), nullable=False),
    # lower runs first; a begun job's is below 0 (see gateway.jobs.claims.BEGUN)
    Column("priority", Integer, nullable=False, default=10),
    Column("due", BigInteger),  # NULL = parked until a slot is free
    Column("parked_for", String(200)),  # the slot it waits for
    Column("lease_until", BigInteger, nullable=False, default=0),
    Column("owner", String(64)),
    Column("fence", Integer, nullable=False, default=0),
    Column("tries", Integer, nullable=False, default=0),
    Index(
        "ix_jobs_due", "due", sqlite_where=text("due IS NOT NULL"), postgresql_where=text("due IS NOT NULL")
    ),
    Index(
        "ix_jobs_priority_due",
        "priority",
        "due",
        sqlite_where=text("due IS NOT NULL"),
        postgresql_where=text("due IS NOT NULL"),
    ),
    Index(
        "ix_jobs_parked_for",
        "parked_for",
        "priority",
        "id",
        sqlite_where=text("parked_for IS NOT NULL"),
        postgresql_where=text("parked_for IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("video_id", String(64), nullable=False),
    Column("n", Integer, nullable=False),
    Column("upstream", String(100), nullable=False),  # of a fleet the server: "name@address"
    Column("upstream_model", String(200), nullable=False),
    Column("credential_version", Integer),  # of the upstream's stored credentials; NULL for a configured one
    Column(
        "state", String(16), nullable=False
    ),  # intent | unknown | running | completed | failed | abandoned | refused | lost
    Column("idempotency_key", String(128), nullable=False),
    Column("handle", JSON),
    Column("outputs", JSON),
    Column("error", JSON),  # {kind, message, http_status, upstream_code}
    Column("holds_key_slot", Boolean, nullable=False, default=True),
    Column("holds_upstream_slot", Boolean, nullable=False, default=True),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),  # committed before every send, so a look-up knows how long to wait
    Column("given_up_at", BigInteger),  # when an operator ended the wait for an answer that was lost
    Column("submitted_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("cost_micros", BigInteger),  # upstream cost: reported, or estimated from the price row
    Column("cost_source", String(12)),  # reported | estimated
    # the same cost as the upstream counts it (decimal text), and the rate that made micro-USD of it
    Column("cost_amount", String(48)),
    Column("cost_currency", String(8)),  # USD | CNY | credit
    Column("cost_rate", String(48)),
    Column("gpu_ms", BigInteger),  # how long the device was busy, where the upstream tells
    Column(
        "estimate_micros", BigInteger
    ),  # what the price row said when it was sent, kept beside a reported cost
    UniqueConstraint("video_id", "n"),
    Index(
        "ix_attempts_slots",
        "upstream",
        sqlite_where=text("holds_upstream_slot"),
        postgresql_where=text("holds_upstream_slot"),
    ),
)

slots = Table(
    "slots",
    metadata,
    Column("name", String(200), primary_key=True),  # "key:<id>", "org:<id>", "upstream:<name>[@<address>]"
    Column("used", Integer, nullable=False, default=0),
    Column("paused_until", BigInteger, nullable=False, default=0),
    # the circuit breaker of an upstream: see gateway.jobs.breaker
    Column("failures", Integer, nullable=False, default=0),
    Column("failing", String(8)),  # submit | job: what failed last
    Column("failed_at", BigInteger, nullable=False, default=0),
    Column("opened", Integer, nullable=False, default=0),  # how often in a row; 0 is closed
    Column("opened_at", BigInteger, nullable=False, default=0),
    Column("probe_until", BigInteger, nullable=False, default=0),
    CheckConstraint("used >= 0", name="used_not_negative"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("event_id", String(64), nullable=False),  # stable over every delivery
    Column("event_type", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("endpoint_id", String(64)),  # NULL = the request's own webhook_url
    Column("video_id", String(64)),
    Column("url", Text, nullable=False),
    Column(
        "origin", String(300), nullable=False
    ),  # scheme://host:port, so that a dead receiver holds up only itself
    Column("body", Text, nullable=False),
    Column("state", String(12), nullable=False, default="pending"),  # pending | delivered | dead
    Column("due", BigInteger),
    Column("lease_until", BigInteger, nullable=False, default=0),
    Column("owner", String(64)),
    Column("fence", Integer, nullable=False, default=0),
    Column("tries", Integer, nullable=False, default=0),
    Column("last_status", String(200)),
    Column("created_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    UniqueConstraint("event_id", "url"),
    Index(
        "ix_outbox_due", "due", sqlite_where=text("due IS NOT NULL"), postgresql_where=text("due IS NOT NULL")
    ),
    Index("ix_outbox_endpoint_id", "endpoint_id", "id"),
    Index(
        "ix_outbox_video_id",
        "video_id",
        sqlite_where=text("video_id IS NOT NULL"),
        postgresql_where=text("video_id IS NOT NULL"),
    ),
    Index(
        "ix_outbox_project_id_id",
        "project_id",
        "id",
        sqlite_where=text("endpoint_id IS NULL"),
        postgresql_where=text("endpoint_id IS NULL"),
    ),
)

notices = Table(
    "operator_notices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("video_id", String(64)),
    Column("attempt_id", String(64)),
    Column("message", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    Column("resolution", String(500)),  # what the operator did about it
)
