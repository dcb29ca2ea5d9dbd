"""the upstream's cost in its own currency, and its GPU time

The price agreed with a customer lies in videos.request, whose older forms are still read.
"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('attempts') as batch_op:
        batch_op.add_column(sa.Column('cost_amount', sa.String(length=48), nullable=True))
        batch_op.add_column(sa.Column('cost_currency', sa.String(length=8), nullable=True))
        batch_op.add_column(sa.Column('cost_rate', sa.String(length=48), nullable=True))
        batch_op.add_column(sa.Column('gpu_ms', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('attempts') as batch_op:
        for name in ('gpu_ms', 'cost_rate', 'cost_currency', 'cost_amount'):
            batch_op.drop_column(name)
