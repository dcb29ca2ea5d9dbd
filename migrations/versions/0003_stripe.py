"""Stripe: customers, recharges, payments, inbox, meter events"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('stripe_customers',
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('creation_key', sa.String(length=64), nullable=False),
    sa.Column('customer_id', sa.String(length=64), nullable=True),
    sa.Column('payment_method_id', sa.String(length=64), nullable=True),
    sa.Column('subscription_id', sa.String(length=64), nullable=True),
    sa.Column('subscription_status', sa.String(length=32), nullable=True),
    sa.Column('subscription_event_at', sa.BigInteger(), nullable=False),
    sa.Column('metered_since', sa.BigInteger(), nullable=True),
    sa.Column('recharge_enabled', sa.Boolean(), nullable=False),
    sa.Column('recharge_threshold', sa.BigInteger(), nullable=False),
    sa.Column('recharge_amount', sa.BigInteger(), nullable=False),
    sa.Column('recharge_id', sa.String(length=64), nullable=True),
    sa.Column('recharge_due', sa.BigInteger(), nullable=False),
    sa.Column('recharge_failures', sa.Integer(), nullable=False),
    sa.Column('recharge_error', sa.Text(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('recharge_threshold >= 0 AND recharge_amount >= 0', name=op.f('ck_stripe_customers_recharge_not_negative')),
    sa.PrimaryKeyConstraint('organization_id', name=op.f('pk_stripe_customers')),
    sa.UniqueConstraint('customer_id', name=op.f('uq_stripe_customers_customer_id'))
    )

    op.create_table('stripe_recharges',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('customer_id', sa.String(length=64), nullable=False),
    sa.Column('payment_method_id', sa.String(length=64), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('payment_intent_id', sa.String(length=64), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('answers', sa.Integer(), nullable=False),
    sa.Column('due', sa.BigInteger(), nullable=True),
    sa.Column('lease_until', sa.BigInteger(), nullable=False),
    sa.Column('fence', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('finished_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_stripe_recharges'))
    )
    op.create_index('ix_stripe_recharges_due', 'stripe_recharges', ['due'])
    op.create_index('ix_stripe_recharges_organization_id_id', 'stripe_recharges', ['organization_id', 'id'])

    op.create_table('stripe_payments',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('organization_id', sa.String(length=64), nullable=True),
    sa.Column('kind', sa.String(length=16), nullable=True),
    sa.Column('credited', sa.BigInteger(), nullable=False),
    sa.Column('charge_refunded', sa.BigInteger(), nullable=False),
    sa.Column('reversed', sa.BigInteger(), nullable=False),
    sa.Column('moves', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_stripe_payments'))
    )
    op.create_index('ix_stripe_payments_created_at', 'stripe_payments', ['created_at'])

    op.create_table('stripe_objects',
    sa.Column('id', sa.String(length=128), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('parent_id', sa.String(length=64), nullable=True),
    sa.Column('organization_id', sa.String(length=64), nullable=True),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('rank', sa.Integer(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('event_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_stripe_objects'))
    )
    op.create_index('ix_stripe_objects_parent_id', 'stripe_objects', ['parent_id'])
    op.create_index('ix_stripe_objects_organization_id_kind', 'stripe_objects', ['organization_id', 'kind'])

    op.create_table('stripe_events',
    sa.Column('id', sa.String(length=255), nullable=False),
    sa.Column('type', sa.String(length=128), nullable=False),
    sa.Column('created', sa.BigInteger(), nullable=False),
    sa.Column('payload', sa.JSON(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('received_at', sa.BigInteger(), nullable=False),
    sa.Column('handled_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_stripe_events'))
    )
    op.create_index('ix_stripe_events_state_received_at', 'stripe_events', ['state', 'received_at'])

    op.create_table('meter_events',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('customer_id', sa.String(length=64), nullable=False),
    sa.Column('value', sa.BigInteger(), nullable=False),
    sa.Column('occurred_at', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('adjust', sa.String(length=16), nullable=True),
    sa.Column('due', sa.BigInteger(), nullable=True),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('answers', sa.Integer(), nullable=False),
    sa.Column('attempted_at', sa.BigInteger(), nullable=True),
    sa.Column('sent_at', sa.BigInteger(), nullable=True),
    sa.Column('adjusted_at', sa.BigInteger(), nullable=True),
    sa.Column('owner', sa.String(length=64), nullable=True),
    sa.Column('lease_until', sa.BigInteger(), nullable=False),
    sa.Column('fence', sa.Integer(), nullable=False),
    sa.Column('last_error', sa.Text(), nullable=True),
    sa.CheckConstraint('value > 0', name=op.f('ck_meter_events_value_positive')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_meter_events'))
    )
    op.create_index('ix_meter_events_due', 'meter_events', ['due'])
    op.create_index('ix_meter_events_organization_id_occurred_at', 'meter_events', ['organization_id', 'occurred_at'])


def downgrade() -> None:
    for name in ('meter_events', 'stripe_events', 'stripe_objects', 'stripe_payments', 'stripe_recharges', 'stripe_customers'):
        op.drop_table(name)
