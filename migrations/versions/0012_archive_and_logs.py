"""An archive of old videos' JSON, a log of polls by the month, and the oldest release that may run"""

import time

import sqlalchemy as sa
from alembic import op

from gateway.log_months import make_months
from gateway.videos.archive import bring_back

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('schema_floor',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('oldest_code', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_schema_floor'))
    )
    op.create_table('video_archive',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('body', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_video_archive'))
    )
    op.create_table('archive_mark',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('completed_at', sa.BigInteger(), nullable=False),
    sa.Column('video_id', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_archive_mark'))
    )
    op.create_table('poll_log',
    sa.Column('attempt_id', sa.String(length=64), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('outcome', sa.String(length=32), nullable=False),
    sa.Column('progress', sa.Integer(), nullable=True),
    sa.Column('http_status', sa.Integer(), nullable=True),
    postgresql_partition_by='RANGE (at)'
    )
    op.create_index('ix_poll_log_attempt_id_at', 'poll_log', ['attempt_id', 'at'])
    if op.get_bind().dialect.name == 'postgresql':
        op.execute('CREATE TABLE poll_log_rest PARTITION OF poll_log DEFAULT')
        make_months(op.get_bind(), int(time.time() * 1000))


def downgrade() -> None:
    while bring_back(op.get_bind()):
        pass
    op.drop_table('poll_log')
    op.drop_table('archive_mark')
    op.drop_table('video_archive')
    op.drop_table('schema_floor')
