"""usage rollups, counted from the videos that have ended; estimates of upstream cost"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OTHER = "kind NOT IN ('hold', 'capture', 'release')"
ENDED = 'completed_at IS NOT NULL'
# family of rows, length of its buckets, what stands for key, model and user
FAMILIES = (
    ('h', HOUR_MS, 'key_id', 'model', "''"),
    ('d', DAY_MS, 'key_id', 'model', "''"),
    ('u', DAY_MS, "''", "''", "coalesce(user_ref, '')"),
)


def upgrade() -> None:
    op.create_table('usage_rollups',
    sa.Column('organization_id', sa.String(length=64), nullable=False),
    sa.Column('grain', sa.String(length=1), nullable=False),
    sa.Column('bucket', sa.BigInteger(), nullable=False),
    sa.Column('project_id', sa.String(length=64), nullable=False),
    sa.Column('key_id', sa.String(length=64), nullable=False),
    sa.Column('model', sa.String(length=200), nullable=False),
    sa.Column('user_ref', sa.String(length=256), nullable=False),
    sa.Column('completed', sa.BigInteger(), nullable=False),
    sa.Column('failed', sa.BigInteger(), nullable=False),
    sa.Column('billed_ms', sa.BigInteger(), nullable=False),
    sa.Column('revenue', sa.BigInteger(), nullable=False),
    sa.Column('fees', sa.BigInteger(), nullable=False),
    sa.Column('quoted', sa.BigInteger(), nullable=False),
    sa.Column('upstream_cost', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('completed >= 0 AND failed >= 0 AND billed_ms >= 0', name=op.f('ck_usage_rollups_counts_not_negative')),
    sa.PrimaryKeyConstraint('organization_id', 'grain', 'bucket', 'project_id', 'key_id', 'model', 'user_ref', name=op.f('pk_usage_rollups'))
    )
    with op.batch_alter_table('videos') as batch_op:
        batch_op.add_column(sa.Column('billed_ms', sa.BigInteger(), nullable=True))
        batch_op.create_index('ix_videos_completed_at_organization_id', ['completed_at', 'organization_id'], sqlite_where=sa.text(ENDED), postgresql_where=sa.text(ENDED))
    with op.batch_alter_table('attempts') as batch_op:
        batch_op.add_column(sa.Column('estimate_micros', sa.BigInteger(), nullable=True))
    with op.batch_alter_table('ledger_entries') as batch_op:
        batch_op.create_index('ix_ledger_entries_other', ['organization_id', 'created_at'], sqlite_where=sa.text(OTHER), postgresql_where=sa.text(OTHER))
    conn = op.get_bind()
    _bill(conn)
    for family in FAMILIES:
        conn.execute(_count(*family))
    _book(conn)


def _bill(conn: sa.Connection) -> None:
    """The length that was billed: the video's, of an extension what was asked for (no more is known of it now)."""
    conn.execute(sa.text(
        "UPDATE videos SET billed_ms = CAST(round(CAST(seconds AS NUMERIC) * 1000) AS BIGINT) "
        "WHERE state = 'completed' AND operation <> 'extend'"
    ))
    asked = 'CAST(request ->> \'seconds\' AS NUMERIC)'
    conn.execute(sa.text(
        f"UPDATE videos SET billed_ms = CAST(round({asked} * 1000) AS BIGINT) "
        "WHERE state = 'completed' AND operation = 'extend'"
    ))


def _count(grain: str, length: int, key_id: str, model: str, user_ref: str) -> sa.TextClause:
    completed = "CASE WHEN state = 'completed' THEN 1 ELSE 0 END"
    revenue = 'coalesce(cost_micros, 0)'
    upstream = '(SELECT coalesce(sum(a.cost_micros), 0) FROM attempts a WHERE a.video_id = v.id)'
    return sa.text(f"""
        INSERT INTO usage_rollups (organization_id, grain, bucket, project_id, key_id, model, user_ref,
            completed, failed, billed_ms, revenue, fees, quoted, upstream_cost)
        SELECT organization_id, '{grain}', bucket, project_id, key_id, model, user_ref, sum(completed),
            sum(1 - completed), sum(billed_ms), sum(revenue), sum(revenue * (1 - completed)), sum(quoted),
            sum(upstream)
        FROM (
            SELECT organization_id, completed_at - completed_at % {length} AS bucket, project_id,
                {key_id} AS key_id, {model} AS model, {user_ref} AS user_ref, {completed} AS completed,
                coalesce(billed_ms, 0) AS billed_ms, {revenue} AS revenue, hold_micros AS quoted,
                {upstream} AS upstream
            FROM videos v WHERE completed_at IS NOT NULL
        ) ended
        GROUP BY organization_id, bucket, project_id, key_id, model, user_ref
    """)


def _book(conn: sa.Connection) -> None:
    """What upstreams took for ended videos is on the books from now on."""
    cost = '(SELECT coalesce(sum(a.cost_micros), 0) FROM attempts a WHERE a.video_id = v.id)'
    ended = f"FROM videos v WHERE v.completed_at IS NOT NULL AND {cost} > 0"
    conn.execute(sa.text(
        "INSERT INTO ledger_entries (id, subject, kind, seq, organization_id, created_at) "
        f"SELECT 'led_cost_0_' || v.id, v.id, 'cost', 0, v.organization_id, v.completed_at {ended}"
    ))
    for account, sign in (('upstream_cost', ''), ('payable', '-')):
        conn.execute(sa.text(
            "INSERT INTO ledger_lines (entry_id, account, amount) "
            f"SELECT 'led_cost_0_' || v.id, '{account}', {sign}{cost} {ended}"
        ))


def downgrade() -> None:
    op.execute("DELETE FROM ledger_lines WHERE entry_id IN (SELECT id FROM ledger_entries WHERE kind = 'cost')")
    op.execute("DELETE FROM ledger_entries WHERE kind = 'cost'")
    with op.batch_alter_table('ledger_entries') as batch_op:
        batch_op.drop_index('ix_ledger_entries_other')
    with op.batch_alter_table('attempts') as batch_op:
        batch_op.drop_column('estimate_micros')
    with op.batch_alter_table('videos') as batch_op:
        batch_op.drop_index('ix_videos_completed_at_organization_id')
        batch_op.drop_column('billed_ms')
    op.drop_table('usage_rollups')
