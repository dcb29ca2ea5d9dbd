"""Where the trace of a video began; who changed what"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('videos', sa.Column('trace', sa.String(64)))
    op.create_table(
        'audit_log',
        sa.Column('id', sa.String(64), nullable=False),
        sa.Column('organization_id', sa.String(64)),
        sa.Column('project_id', sa.String(64)),
        sa.Column('effective_at', sa.BigInteger(), nullable=False),
        sa.Column('type', sa.String(64), nullable=False),
        sa.Column('object_type', sa.String(32), nullable=False),
        sa.Column('object_id', sa.String(200), nullable=False),
        sa.Column('actor_key_id', sa.String(64)),
        sa.Column('actor_organization_id', sa.String(64)),
        sa.Column('actor_is_operator', sa.Boolean(), nullable=False),
        sa.Column('before', sa.JSON()),
        sa.Column('after', sa.JSON()),
        sa.Column('request_id', sa.String(64)),
        sa.Column('ip_address', sa.String(64)),
        sa.PrimaryKeyConstraint('id', name='pk_audit_log'),
    )
    op.create_index('ix_audit_log_organization_id', 'audit_log', ['organization_id', 'effective_at', 'id'])
    op.create_index('ix_audit_log_effective_at', 'audit_log', ['effective_at', 'id'])


def downgrade() -> None:
    op.drop_table('audit_log')
    with op.batch_alter_table('videos') as batch:
        batch.drop_column('trace')
