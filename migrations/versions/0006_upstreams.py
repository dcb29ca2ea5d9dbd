"""upstreams in the database, their credentials and pauses; a circuit breaker for each"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

BREAKER = ('failures', 'failing', 'failed_at', 'opened', 'opened_at', 'probe_until')


def upgrade() -> None:
    op.create_table('upstreams',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('settings', sa.JSON(), nullable=False),
    sa.Column('credential_version', sa.Integer(), nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('updated_at', sa.BigInteger(), nullable=False),
    sa.Column('removed_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_upstreams'))
    )
    op.create_table('upstream_credentials',
    sa.Column('upstream', sa.String(length=100), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('secret', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('upstream', 'version', name=op.f('pk_upstream_credentials'))
    )
    op.create_table('upstream_pauses',
    sa.Column('upstream', sa.String(length=100), nullable=False),
    sa.Column('reason', sa.String(length=20), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('credential_hash', sa.String(length=16), nullable=True),
    sa.Column('paused_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('upstream', name=op.f('pk_upstream_pauses'))
    )
    with op.batch_alter_table('attempts') as batch_op:
        batch_op.add_column(sa.Column('credential_version', sa.Integer(), nullable=True))
    with op.batch_alter_table('slots') as batch_op:
        batch_op.add_column(sa.Column('failures', sa.Integer(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('failing', sa.String(length=8), nullable=True))
        batch_op.add_column(sa.Column('failed_at', sa.BigInteger(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('opened', sa.Integer(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('opened_at', sa.BigInteger(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('probe_until', sa.BigInteger(), nullable=False, server_default='0'))


def downgrade() -> None:
    with op.batch_alter_table('slots') as batch_op:
        for name in reversed(BREAKER):
            batch_op.drop_column(name)
    with op.batch_alter_table('attempts') as batch_op:
        batch_op.drop_column('credential_version')
    op.drop_table('upstream_pauses')
    op.drop_table('upstream_credentials')
    op.drop_table('upstreams')
