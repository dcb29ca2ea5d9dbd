"""Every table of the installation, for migrations and tests."""

import re
from typing import Final

import billing.stripe_tables
import billing.timing_tables
import billing.usage_tables
import gateway.audit.tables
import gateway.files.tables
import gateway.idempotency.tables
import gateway.jobs.poll_log
import gateway.jobs.tables
import gateway.keys.tables
import gateway.members.tables
import gateway.presence
import gateway.schema_floor
import gateway.upstreams.tables
import gateway.videos.archive
import gateway.videos.tables
import gateway.webhooks.tables
from billing.tables import metadata as billing_metadata
from gateway.db import metadata as gateway_metadata

TABLE_MODULES = (
    billing.stripe_tables,
    billing.timing_tables,
    billing.usage_tables,
    gateway.audit.tables,
    gateway.files.tables,
    gateway.idempotency.tables,
    gateway.jobs.poll_log,
    gateway.jobs.tables,
    gateway.keys.tables,
    gateway.members.tables,
    gateway.presence,
    gateway.schema_floor,
    gateway.upstreams.tables,
    gateway.videos.archive,
    gateway.videos.tables,
    gateway.webhooks.tables,
)
"""Imported so that their tables are registered."""

PARTITIONS: Final = re.compile(r"poll_log_(rest|\d{4}_\d{2})")
"""Tables of PostgreSQL that are parts of others: no metadata names them."""

EXPRESSIONS: Final = {"ix_videos_words"}
"""Indexes of PostgreSQL over expressions."""

METADATA = [gateway_metadata, billing_metadata]
