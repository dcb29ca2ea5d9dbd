"""What is known of Stripe: customers, payments, what happened to them, the inbox of events, the outbox of usage.

Amounts are micro-USD, times milliseconds since the epoch.
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
)

from billing.tables import metadata

customers = Table(
    "stripe_customers",
    metadata,
    Column("organization_id", String(64), primary_key=True),
    Column(
        "creation_key", String(64), nullable=False
    ),  # idempotency keys of once-only requests derive from it
    Column("customer_id", String(64)),
    Column("payment_method_id", String(64)),
    Column("subscription_id", String(64)),
    Column("subscription_status", String(32)),
    Column("subscription_event_at", BigInteger, nullable=False, default=0),
    Column("metered_since", BigInteger),  # when the subscription began
    Column("recharge_enabled", Boolean, nullable=False, default=False),
    Column("recharge_threshold", BigInteger, nullable=False, default=0),
    Column("recharge_amount", BigInteger, nullable=False, default=0),
    Column("recharge_id", String(64)),  # the one that is open
    Column("recharge_due", BigInteger, nullable=False, default=0),  # not before
    Column("recharge_failures", Integer, nullable=False, default=0),
    Column("recharge_error", Text),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("recharge_threshold >= 0 AND recharge_amount >= 0", name="recharge_not_negative"),
    UniqueConstraint("customer_id"),
)

recharges = Table(
    "stripe_recharges",
    metadata,
    Column("id", String(64), primary_key=True),  # also the idempotency key of its payment
    Column("organization_id", String(64), nullable=False),
    Column("customer_id", String(64), nullable=False),
    Column("payment_method_id", String(64), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # open | succeeded | failed
    Column("payment_intent_id", String(64)),
    Column("error", Text),
    Column("tries", Integer, nullable=False, default=0),
    Column(
        "answers", Integer, nullable=False, default=0
    ),  # refusals so far: Stripe repeats one under its key
    Column("due", BigInteger),  # None: nothing is left to do
    Column("lease_until", BigInteger, nullable=False, default=0),
    Column("fence", Integer, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Index("ix_stripe_recharges_due", "due"),
    Index("ix_stripe_recharges_organization_id_id", "organization_id", "id"),
)

payments = Table(
    "stripe_payments",
    metadata,
    Column("id", String(64), primary_key=True),  # the payment intent
    Column("organization_id", String(64)),  # None: nothing was credited yet
    Column("kind", String(16)),  # top_up | recharge
    Column("credited", BigInteger, nullable=False, default=0),
    Column("charge_refunded", BigInteger, nullable=False, default=0),  # the most that its charge said
    Column("reversed", BigInteger, nullable=False, default=0),
    Column("moves", Integer, nullable=False, default=0),  # reversals and their undoing so far
    Column("created_at", BigInteger, nullable=False),
    Index("ix_stripe_payments_created_at", "created_at"),
)

objects = Table(
    "stripe_objects",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("kind", String(16), nullable=False),  # refund | dispute | invoice | customer
    Column("parent_id", String(64)),  # payment intent, or subscription
    Column("organization_id", String(64)),
    Column("status", String(32), nullable=False),
    Column("rank", Integer, nullable=False),  # a lower one never replaces a higher one
    Column("amount", BigInteger, nullable=False),
    Column("event_at", BigInteger, nullable=False),
    Index("ix_stripe_objects_parent_id", "parent_id"),
    Index("ix_stripe_objects_organization_id_kind", "organization_id", "kind"),
)
"""The furthest that is known of a refund, a dispute, an invoice or a customer, in whatever order the events came."""

events = Table(
    "stripe_events",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("type", String(128), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", String(16), nullable=False),  # received | handled | ignored | failed
    Column("error", Text),
    Column("tries", Integer, nullable=False, default=0),
    Column("received_at", BigInteger, nullable=False),
    Column("handled_at", BigInteger),
    Index("ix_stripe_events_state_received_at", "state", "received_at"),
)

meter_events = Table(
    "meter_events",
    metadata,
    Column("id", String(64), primary_key=True),  # the ledger entry, or an opening; the identifier at Stripe
    Column("organization_id", String(64), nullable=False),
    Column("customer_id", String(64), nullable=False),
    Column("value", BigInteger, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # pending | sent | dead | cancelled
    Column("adjust", String(16)),  # pending | sent | dead: a cancellation at Stripe
    Column("due", BigInteger),  # None: nothing is left to do
    Column("tries", Integer, nullable=False, default=0),
    Column("answers", Integer, nullable=False, default=0),
    Column("attempted_at", BigInteger),  # since when Stripe may have it
    Column("sent_at", BigInteger),
    Column("adjusted_at", BigInteger),
    Column("owner", String(64)),
    Column("lease_until", BigInteger, nullable=False, default=0),
    Column("fence", Integer, nullable=False, default=0),
    Column("last_error", Text),
    CheckConstraint("value > 0", name="value_positive"),
    Index("ix_meter_events_due", "due"),
    Index("ix_meter_events_organization_id_occurred_at", "organization_id", "occurred_at"),
)
