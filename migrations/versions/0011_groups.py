"""The members of a group are found by an index"""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_videos_group_id', 'videos', ['group_id'],
        sqlite_where=sa.text('group_id IS NOT NULL'), postgresql_where=sa.text('group_id IS NOT NULL'))


def downgrade() -> None:
    op.drop_index('ix_videos_group_id', table_name='videos')
