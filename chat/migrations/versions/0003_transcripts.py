"""When a copy of a conversation was last asked for.

Revision: 0003, after 0002, 2026-11-21 15:00:12.118402
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("conversations", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("transcript_at", common.db.types.UtcDateTime(timezone=True), nullable=True)
        )


def downgrade() -> None:
    with op.batch_alter_table("conversations", schema=None) as batch_op:
        batch_op.drop_column("transcript_at")
