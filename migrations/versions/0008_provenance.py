"""What the stored file of a video says of its origin"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('videos', sa.Column('provenance', sa.JSON()))


def downgrade() -> None:
    with op.batch_alter_table('videos') as batch:
        batch.drop_column('provenance')
