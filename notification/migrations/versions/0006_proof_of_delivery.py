"""Which words an attempt carried, and when the provider's last word on it came

Revision: 0006, after 0005, 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

from common.db import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("delivery_attempts") as batch_op:
        batch_op.add_column(sa.Column("text_version", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("words_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("receipt_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("delivery_attempts") as batch_op:
        batch_op.drop_column("receipt_at")
        batch_op.drop_column("words_sha256")
        batch_op.drop_column("text_version")
