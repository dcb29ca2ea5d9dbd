"""The live processes of an installation"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('processes',
        sa.Column('id', sa.String(40), primary_key=True),
        sa.Column('roles', sa.String(40), nullable=False),
        sa.Column('host', sa.String(255), nullable=False),
        sa.Column('pid', sa.Integer(), nullable=False),
        sa.Column('version', sa.String(40), nullable=False),
        sa.Column('started_at', sa.BigInteger(), nullable=False),
        sa.Column('seen_at', sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table('processes')
