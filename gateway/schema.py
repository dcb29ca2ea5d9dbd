"""Every table of the installation, for migrations and tests."""

import gateway.files.tables
import gateway.idempotency.tables
import gateway.jobs.tables
import gateway.keys.tables
import gateway.videos.tables
import gateway.webhooks.tables
from billing.tables import metadata as billing_metadata
from gateway.db import metadata as gateway_metadata

METADATA = [gateway_metadata, billing_metadata]
