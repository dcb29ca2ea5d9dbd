"""People: who they are, which organizations they belong to, how they get in. Times are milliseconds since the epoch."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

from gateway.db import metadata

users = Table(
    "users",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),  # in lower case
    Column("name", String(200), nullable=False),
    Column("password_hash", String(255)),  # argon2id; NULL for who signs in elsewhere alone
    Column("oidc_issuer", String(500)),
    Column("oidc_subject", String(255)),
    Column("operator", Boolean, nullable=False),  # runs this installation, above all organizations
    Column("created_at", BigInteger, nullable=False),
    Column("signed_in_at", BigInteger),
    UniqueConstraint("oidc_issuer", "oidc_subject"),
)

memberships = Table(
    "memberships",
    metadata,
    Column("organization_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("role", String(16), nullable=False),  # see gateway.members.roles
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("organization_id", "user_id"),
    Index("ix_memberships_user_id", "user_id"),
)

invitations = Table(
    "invitations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),  # hex SHA-256 of what is in the link
    Column("organization_id", String(64), nullable=False),
    Column("email", String(254)),  # NULL: whoever has the link
    Column("role", String(16), nullable=False),
    Column("user_id", String(64)),  # a link for somebody who is here already to choose a new password
    Column("created_by", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("accepted_at", BigInteger),
    Index("ix_invitations_organization_id", "organization_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),  # hex SHA-256 of the cookie
    Column("user_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),  # where the person looks at present
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ip_address", String(64)),
    Column("user_agent", String(300)),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_expires_at", "expires_at"),
)
