"""SMS that wait for a push to be read; what a customer got lately

Revision: 0005, after 0004, 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.add_column(sa.Column("unless_read", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.create_index("ix_deliveries_lately", ["user_id", "created_at"])


def downgrade() -> None:
    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.drop_index("ix_deliveries_lately")
        batch_op.drop_column("unless_read")
