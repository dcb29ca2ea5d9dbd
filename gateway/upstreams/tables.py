"""Upstreams that were added while the server runs, their credentials, and which upstreams take nothing new.

All times are milliseconds since the epoch.
"""

from sqlalchemy import JSON, BigInteger, Column, Integer, String, Table, Text

from gateway.db import metadata

upstreams = Table(
    "upstreams",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("settings", JSON, nullable=False),  # what an [[upstreams]] table says, without the credential
    Column("credential_version", Integer, nullable=False),  # the one that new attempts use; 0 for none
    Column("revision", Integer, nullable=False),  # rises with every change
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),  # takes nothing new; the row goes with its last live attempt
)

credentials = Table(
    "upstream_credentials",
    metadata,
    Column("upstream", String(100), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("secret", Text, nullable=False),  # encrypted, see gateway.crypto
    Column("created_at", BigInteger, nullable=False),
)

pauses = Table(
    "upstream_pauses",
    metadata,
    Column("upstream", String(100), primary_key=True),  # configured ones, too
    Column("reason", String(20), nullable=False),  # operator | provider_auth | provider_funds
    Column("message", Text, nullable=False),
    Column("credential_hash", String(16)),  # of the credential that was refused
    Column("paused_at", BigInteger, nullable=False),
)
