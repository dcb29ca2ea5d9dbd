"""Waiting and rendering times, counted per hour and day from this release on; notices that are dealt with, and waits given up"""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('timing_rollups',
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('grain', sa.String(length=1), nullable=False),
    sa.Column('bucket', sa.BigInteger(), nullable=False),
    sa.Column('project_id', sa.String(length=64), nullable=False),
    sa.Column('key_id', sa.String(length=64), nullable=False),
    sa.Column('model', sa.String(length=200), nullable=False),
    sa.Column('measure', sa.String(length=1), nullable=False),
    sa.Column('bin', sa.Integer(), nullable=False),
    sa.Column('videos', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('organization_id', 'grain', 'bucket', 'project_id', 'key_id', 'model', 'measure', 'bin',
        name=op.f('pk_timing_rollups'))
    )
    op.add_column('attempts', sa.Column('given_up_at', sa.BigInteger(), nullable=True))
    op.add_column('operator_notices', sa.Column('resolved_at', sa.BigInteger(), nullable=True))
    op.add_column('operator_notices', sa.Column('resolution', sa.String(length=500), nullable=True))


def downgrade() -> None:
    op.drop_column('operator_notices', 'resolution')
    op.drop_column('operator_notices', 'resolved_at')
    op.drop_column('attempts', 'given_up_at')
    op.drop_table('timing_rollups')
