"""Append-only ledger and the running balance per organization. All amounts are micro-USD."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    },
)

balances = Table(
    "billing_balances",
    metadata,
    Column("organization_id", String(64), primary_key=True),
    Column("mode", String(12), nullable=False),  # off | prepaid | postpaid
    Column("credit_limit", BigInteger, nullable=False, default=0),
    Column("available", BigInteger, nullable=False, default=0),
    Column("held", BigInteger, nullable=False, default=0),
    CheckConstraint("held >= 0", name="held_not_negative"),
)

entries = Table(
    "ledger_entries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("subject", String(64), nullable=False),  # a video, a Stripe event or an operator action
    Column("kind", String(16), nullable=False),  # hold | capture | release | credit
    Column("seq", Integer, nullable=False, default=0),
    Column("organization_id", String(64), nullable=False),
    Column("memo", Text),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("subject", "kind", "seq"),
    Index("ix_ledger_entries_organization_id_id", "organization_id", "id"),
)

lines = Table(
    "ledger_lines",
    metadata,
    Column("entry_id", String(64), nullable=False),
    Column("account", String(24), nullable=False),  # customer | held | revenue | equity
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("entry_id", "account"),
)
