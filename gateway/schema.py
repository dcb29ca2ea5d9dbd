"""Every table of the installation, for migrations and tests."""

import billing.stripe_tables
import billing.usage_tables
import gateway.audit.tables
import gateway.files.tables
import gateway.idempotency.tables
import gateway.jobs.tables
import gateway.keys.tables
import gateway.presence
import gateway.upstreams.tables
import gateway.videos.tables
import gateway.webhooks.tables
from billing.tables import metadata as billing_metadata
from gateway.db import metadata as gateway_metadata

TABLE_MODULES = (
    billing.stripe_tables,
    billing.usage_tables,
    gateway.audit.tables,
    gateway.files.tables,
    gateway.idempotency.tables,
    gateway.jobs.tables,
    gateway.keys.tables,
    gateway.presence,
    gateway.upstreams.tables,
    gateway.videos.tables,
    gateway.webhooks.tables,
)
"""Imported so that their tables are registered."""

METADATA = [gateway_metadata, billing_metadata]
