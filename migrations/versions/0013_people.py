"""People, what they belong to, their sessions and invitations; public links to videos"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None

RARE = "kind NOT IN ('hold', 'capture', 'release', 'cost')"
OF_REQUESTS = 'endpoint_id IS NULL'
OF_VIDEOS = 'video_id IS NOT NULL'
LIVE = 'completed_at IS NULL'
FAILED = 'error_code IS NOT NULL'
WORDS = (
    "to_tsvector('simple'::regconfig, "
    "replace(project_id, '_', '') || ' ' || regexp_replace(lower(coalesce(prompt, '')), '[\\W_]+', ' ', 'g'))"
)


def upgrade() -> None:
    op.create_table('users',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('password_hash', sa.String(length=255), nullable=True),
    sa.Column('oidc_issuer', sa.String(length=500), nullable=True),
    sa.Column('oidc_subject', sa.String(length=255), nullable=True),
    sa.Column('operator', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('signed_in_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('email', name=op.f('uq_users_email')),
    sa.UniqueConstraint('oidc_issuer', 'oidc_subject', name=op.f('uq_users_oidc_issuer_oidc_subject'))
    )
    op.create_table('memberships',
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('user_id', sa.String(length=64), nullable=False),
    sa.Column('role', sa.String(length=16), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('organization_id', 'user_id', name=op.f('pk_memberships'))
    )
    op.create_index('ix_memberships_user_id', 'memberships', ['user_id'])
    op.create_table('invitations',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('hash', sa.String(length=64), nullable=False),
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=True),
    sa.Column('role', sa.String(length=16), nullable=False),
    sa.Column('user_id', sa.String(length=64), nullable=True),
    sa.Column('created_by', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('accepted_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_invitations')),
    sa.UniqueConstraint('hash', name=op.f('uq_invitations_hash'))
    )
    op.create_index('ix_invitations_organization_id', 'invitations', ['organization_id'])
    op.create_table('sessions',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('hash', sa.String(length=64), nullable=False),
    sa.Column('user_id', sa.String(length=64), nullable=False),
    sa.Column('project_id', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('seen_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('ip_address', sa.String(length=64), nullable=True),
    sa.Column('user_agent', sa.String(length=300), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sessions')),
    sa.UniqueConstraint('hash', name=op.f('uq_sessions_hash'))
    )
    op.create_index('ix_sessions_user_id', 'sessions', ['user_id'])
    op.create_index('ix_sessions_expires_at', 'sessions', ['expires_at'])
    op.create_table('share_links',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('hash', sa.String(length=64), nullable=False),
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('project_id', sa.String(length=64), nullable=False),
    sa.Column('video_id', sa.String(length=64), nullable=False),
    sa.Column('with_prompt', sa.Boolean(), nullable=False),
    sa.Column('created_by', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('revoked_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_share_links')),
    sa.UniqueConstraint('hash', name=op.f('uq_share_links_hash'))
    )
    op.create_index('ix_share_links_video_id', 'share_links', ['video_id'])
    op.create_index('ix_share_links_expires_at', 'share_links', ['expires_at'])
    op.add_column('api_keys', sa.Column('last_used_at', sa.BigInteger(), nullable=True))
    op.add_column('api_keys', sa.Column('created_by', sa.String(length=64), nullable=True))
    op.create_index('ix_ledger_entries_rare', 'ledger_entries', ['organization_id', 'created_at', 'id'],
        sqlite_where=sa.text(RARE), postgresql_where=sa.text(RARE))
    op.create_index('ix_outbox_project_id_id', 'outbox', ['project_id', 'id'],
        sqlite_where=sa.text(OF_REQUESTS), postgresql_where=sa.text(OF_REQUESTS))
    op.create_index('ix_outbox_video_id', 'outbox', ['video_id'],
        sqlite_where=sa.text(OF_VIDEOS), postgresql_where=sa.text(OF_VIDEOS))
    op.create_index('ix_videos_project_id_model_id', 'videos', ['project_id', 'model', 'id'])
    op.create_index('ix_videos_project_id_key_id_id', 'videos', ['project_id', 'key_id', 'id'])
    for name, which in (('ix_videos_live', LIVE), ('ix_videos_failed', FAILED)):
        op.create_index(name, 'videos', ['project_id', 'id'],
            sqlite_where=sa.text(which), postgresql_where=sa.text(which))
    if op.get_bind().dialect.name == 'postgresql':
        op.create_index('ix_videos_words', 'videos', [sa.text(WORDS)], postgresql_using='gin')


def downgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        op.drop_index('ix_videos_words', table_name='videos')
    op.drop_index('ix_videos_failed', table_name='videos')
    op.drop_index('ix_videos_live', table_name='videos')
    op.drop_index('ix_videos_project_id_key_id_id', table_name='videos')
    op.drop_index('ix_videos_project_id_model_id', table_name='videos')
    op.drop_index('ix_outbox_video_id', table_name='outbox')
    op.drop_index('ix_outbox_project_id_id', table_name='outbox')
    op.drop_index('ix_ledger_entries_rare', table_name='ledger_entries')
    op.drop_column('api_keys', 'created_by')
    op.drop_column('api_keys', 'last_used_at')
    for table in ('share_links', 'sessions', 'invitations', 'memberships', 'users'):
        op.drop_table(table)
