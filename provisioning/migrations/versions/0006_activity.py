"""activity

Revision: 0006, after 0005, 2026-11-21 15:10:00
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("customers", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("activity_at", common.db.types.UtcDateTime(timezone=True), nullable=True)
        )
    op.execute("UPDATE customers SET activity_at = deactivated_at")


def downgrade() -> None:
    with op.batch_alter_table("customers", schema=None) as batch_op:
        batch_op.drop_column("activity_at")
