"""refunds that a person has tried again, or has paid out in another way

Revision: 0008, after 0007, 2026-11-21 15:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refunds", sa.Column("retries", sa.Integer(), server_default="0", nullable=False))
    op.add_column("refunds", sa.Column("by_hand", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("refunds", "by_hand")
    op.drop_column("refunds", "retries")
