"""plans, promotional credit, budgets, receivables"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

BALANCE_CHECKS = {
    'promotional_not_negative': 'promotional >= 0',
    'receivable_not_negative': 'receivable >= 0',
    'within_limit': "mode = 'off' OR available + credit_limit >= 0",
    'prepaid_owes_nothing': "mode <> 'prepaid' OR credit_limit = 0",
}


def upgrade() -> None:
    with op.batch_alter_table('organizations') as batch_op:
        batch_op.add_column(sa.Column('plan', sa.String(length=64), nullable=False, server_default='unlimited'))
        batch_op.add_column(sa.Column('margin', sa.String(length=32), nullable=True))

    with op.batch_alter_table('billing_balances') as batch_op:
        for name in ('promotional', 'receivable'):
            batch_op.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('suspended', sa.String(length=40), nullable=True))
    with op.batch_alter_table('billing_balances') as batch_op:
        for name in ('promotional', 'receivable'):
            batch_op.alter_column(name, existing_type=sa.BigInteger(), server_default=None)
        for name, condition in BALANCE_CHECKS.items():
            batch_op.create_check_constraint(op.f(f'ck_billing_balances_{name}'), condition)

    op.drop_index('ix_ledger_entries_organization_id_id', 'ledger_entries')
    op.create_index(
        'ix_ledger_entries_organization_id_created_at_id', 'ledger_entries', ['organization_id', 'created_at', 'id']
    )

    op.create_table('credit_lots',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('granted', sa.BigInteger(), nullable=False),
    sa.Column('remaining', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('expiries', sa.Integer(), nullable=False),
    sa.Column('memo', sa.Text(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('remaining >= 0 AND remaining <= granted', name=op.f('ck_credit_lots_remaining_in_range')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_credit_lots'))
    )
    op.create_index('ix_credit_lots_organization_id_expires_at', 'credit_lots', ['organization_id', 'expires_at'])
    op.create_index('ix_credit_lots_expires_at', 'credit_lots', ['expires_at'])

    op.create_table('hold_lots',
    sa.Column('subject', sa.String(length=64), nullable=False),
    sa.Column('lot_id', sa.String(length=64), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('subject', 'lot_id', name=op.f('pk_hold_lots'))
    )

    op.create_table('budgets',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('scope', sa.String(length=16), nullable=False),
    sa.Column('scope_id', sa.String(length=256), nullable=False),
    sa.Column('period', sa.String(length=8), nullable=False),
    sa.Column('unit', sa.String(length=8), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('hard', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('archived_at', sa.BigInteger(), nullable=True),
    sa.CheckConstraint('amount >= 0', name=op.f('ck_budgets_amount_not_negative')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_budgets'))
    )
    op.create_index('ix_budgets_organization_id_id', 'budgets', ['organization_id', 'id'])

    op.create_table('budget_periods',
    sa.Column('budget_id', sa.String(length=64), nullable=False),
    sa.Column('period_start', sa.BigInteger(), nullable=False),
    sa.Column('used', sa.BigInteger(), nullable=False),
    sa.Column('alerted', sa.Integer(), nullable=False),
    sa.Column('most', sa.BigInteger(), nullable=True),
    sa.CheckConstraint('used >= 0', name=op.f('ck_budget_periods_used_not_negative')),
    sa.CheckConstraint('most IS NULL OR used <= most', name=op.f('ck_budget_periods_used_within')),
    sa.PrimaryKeyConstraint('budget_id', 'period_start', name=op.f('pk_budget_periods'))
    )

    op.create_table('budget_holds',
    sa.Column('subject', sa.String(length=64), nullable=False),
    sa.Column('budget_id', sa.String(length=64), nullable=False),
    sa.Column('period_start', sa.BigInteger(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('subject', 'budget_id', name=op.f('pk_budget_holds'))
    )

    # attempts under way hold a slot of their organization from now on
    op.execute(
        "INSERT INTO slots (name, used, paused_until) "
        "SELECT 'org:' || videos.organization_id, count(*), 0 FROM attempts "
        "JOIN videos ON videos.id = attempts.video_id WHERE attempts.holds_key_slot "
        "GROUP BY videos.organization_id"
    )


def downgrade() -> None:
    op.execute("DELETE FROM slots WHERE name LIKE 'org:%'")
    for name in ('budget_holds', 'budget_periods', 'budgets', 'hold_lots', 'credit_lots'):
        op.drop_table(name)
    op.drop_index('ix_ledger_entries_organization_id_created_at_id', 'ledger_entries')
    op.create_index('ix_ledger_entries_organization_id_id', 'ledger_entries', ['organization_id', 'id'])
    with op.batch_alter_table('billing_balances') as batch_op:
        for name in BALANCE_CHECKS:
            batch_op.drop_constraint(op.f(f'ck_billing_balances_{name}'), type_='check')
    with op.batch_alter_table('billing_balances') as batch_op:
        for name in ('suspended', 'receivable', 'promotional'):
            batch_op.drop_column(name)
    with op.batch_alter_table('organizations') as batch_op:
        batch_op.drop_column('margin')
        batch_op.drop_column('plan')
