"""Where the trace of a video began"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('videos', sa.Column('trace', sa.String(64)))


def downgrade() -> None:
    with op.batch_alter_table('videos') as batch:
        batch.drop_column('trace')
