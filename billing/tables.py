"""Append-only ledger and the running balance per organization. All amounts are micro-USD."""

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    },
)

NOT_OF_VIDEOS = "kind NOT IN ('hold', 'capture', 'release', 'cost')"

balances = Table(
    "billing_balances",
    metadata,
    Column("organization_id", String(64), primary_key=True),
    Column("mode", String(12), nullable=False),  # off | prepaid | postpaid
    Column("credit_limit", BigInteger, nullable=False, default=0),
    Column("available", BigInteger, nullable=False, default=0),  # paid credit; below zero: owed
    Column("promotional", BigInteger, nullable=False, default=0),  # what is left in credit_lots
    Column("held", BigInteger, nullable=False, default=0),
    Column("receivable", BigInteger, nullable=False, default=0),  # reversed beyond the balance
    Column("suspended", String(40)),  # why nothing may be made: receivable | payment_failed | operator
    CheckConstraint("held >= 0", name="held_not_negative"),
    CheckConstraint("promotional >= 0", name="promotional_not_negative"),
    CheckConstraint("receivable >= 0", name="receivable_not_negative"),
    CheckConstraint("mode = 'off' OR available + credit_limit >= 0", name="within_limit"),
    CheckConstraint("mode <> 'prepaid' OR credit_limit = 0", name="prepaid_owes_nothing"),
)

entries = Table(
    "ledger_entries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("subject", String(64), nullable=False),  # a video, a Stripe event or an operator action
    Column("kind", String(16), nullable=False),  # see billing.ledger
    Column("seq", Integer, nullable=False, default=0),
    Column("organization_id", String(64), nullable=False),
    Column("memo", Text),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("subject", "kind", "seq"),
    Index("ix_ledger_entries_organization_id_created_at_id", "organization_id", "created_at", "id"),
    # what is on a bill beside videos
    Index(
        "ix_ledger_entries_other",
        "organization_id",
        "created_at",
        sqlite_where=text("kind NOT IN ('hold', 'capture', 'release')"),
        postgresql_where=text("kind NOT IN ('hold', 'capture', 'release')"),
    ),
    # what people look for among the entries of all videos
    Index(
        "ix_ledger_entries_rare",
        "organization_id",
        "created_at",
        "id",
        sqlite_where=text(NOT_OF_VIDEOS),
        postgresql_where=text(NOT_OF_VIDEOS),
    ),
)

lines = Table(
    "ledger_lines",
    metadata,
    Column("entry_id", String(64), nullable=False),
    Column("account", String(24), nullable=False),  # see billing.ledger
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("entry_id", "account"),
    sqlite_with_rowid=False,
)

credit_lots = Table(
    "credit_lots",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("granted", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("expiries", Integer, nullable=False, default=0),  # times that something was left at the end
    Column("memo", Text),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("remaining >= 0 AND remaining <= granted", name="remaining_in_range"),
    Index("ix_credit_lots_organization_id_expires_at", "organization_id", "expires_at"),
    Index("ix_credit_lots_expires_at", "expires_at"),
)
"""Promotional credit, used before paid credit, the lot that ends first before the others."""

hold_lots = Table(
    "hold_lots",
    metadata,
    Column("subject", String(64), nullable=False),
    Column("lot_id", String(64), nullable=False),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject", "lot_id"),
    sqlite_with_rowid=False,
)
"""Which lots an open hold took from; its rows go with the hold."""

budgets = Table(
    "budgets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("scope", String(16), nullable=False),  # organization | project | key | user
    Column("scope_id", String(256), nullable=False),
    Column("period", String(8), nullable=False),  # day | month, in UTC
    Column("unit", String(8), nullable=False),  # usd (micro-USD) | seconds (milliseconds)
    Column("amount", BigInteger, nullable=False),
    Column("hard", Boolean, nullable=False, default=True),  # refuse beyond it, or only tell
    Column("created_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
    Index("ix_budgets_organization_id_id", "organization_id", "id"),
)

budget_periods = Table(
    "budget_periods",
    metadata,
    Column("budget_id", String(64), nullable=False),
    Column("period_start", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False, default=0),
    Column("alerted", Integer, nullable=False, default=0),  # the highest percentage that was told
    Column("most", BigInteger),  # of a hard budget: its amount when a create last counted in it
    CheckConstraint("used >= 0", name="used_not_negative"),
    CheckConstraint("most IS NULL OR used <= most", name="used_within"),
    PrimaryKeyConstraint("budget_id", "period_start"),
)

budget_holds = Table(
    "budget_holds",
    metadata,
    Column("subject", String(64), nullable=False),
    Column("budget_id", String(64), nullable=False),
    Column("period_start", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject", "budget_id"),
    sqlite_with_rowid=False,
)
"""What an open hold counts in a budget; corrected and removed when the hold is resolved."""
