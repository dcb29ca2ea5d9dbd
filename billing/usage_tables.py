"""Usage, added up as videos end. Times are milliseconds since the epoch, money is micro-USD."""

from sqlalchemy import BigInteger, CheckConstraint, Column, PrimaryKeyConstraint, String, Table

from billing.tables import metadata

usage_rollups = Table(
    "usage_rollups",
    metadata,
    Column("organization_id", String(64), nullable=False),
    Column("grain", String(1), nullable=False),  # see billing.rollups.GRAINS
    Column("bucket", BigInteger, nullable=False),  # its start, in UTC
    Column("project_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("user_ref", String(256), nullable=False),
    Column("completed", BigInteger, nullable=False),  # videos
    Column("failed", BigInteger, nullable=False),
    Column("billed_ms", BigInteger, nullable=False),  # made and billed: of an extension what was added
    Column("revenue", BigInteger, nullable=False),  # captured, with fees
    Column("fees", BigInteger, nullable=False),  # of it for videos that failed
    Column("quoted", BigInteger, nullable=False),  # held when the videos were accepted
    Column("upstream_cost", BigInteger, nullable=False),  # reported, or estimated from the price row
    PrimaryKeyConstraint("organization_id", "grain", "bucket", "project_id", "key_id", "model", "user_ref"),
    CheckConstraint("completed >= 0 AND failed >= 0 AND billed_ms >= 0", name="counts_not_negative"),
)
