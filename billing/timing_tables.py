"""How long videos waited and took, as counts per bin, so that a median is read from few rows."""

from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, String, Table

from billing.tables import metadata

timing_rollups = Table(
    "timing_rollups",
    metadata,
    Column("organization_id", String(64), nullable=False),
    Column("grain", String(1), nullable=False),  # hours or days: see billing.rollups
    Column("bucket", BigInteger, nullable=False),  # its start, in UTC
    Column("project_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("measure", String(1), nullable=False),  # w: waited, r: rendered
    Column("bin", Integer, nullable=False),  # see billing.timings
    Column("videos", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        "organization_id", "grain", "bucket", "project_id", "key_id", "model", "measure", "bin"
    ),
)
