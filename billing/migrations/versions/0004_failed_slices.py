"""accounts that a billing run could not bill: slices of their own, tried again

Revision: 0004, after 0003, 2026-11-21 18:10:00
"""

import sqlalchemy as sa
from alembic import op

from common.db.types import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WAITING = sa.text("retry_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("billing_slices", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    op.add_column("billing_slices", sa.Column("reason", sa.String(length=100), nullable=True))
    op.add_column("billing_slices", sa.Column("retry_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_billing_slices_retry_at",
        "billing_slices",
        ["retry_at"],
        postgresql_where=WAITING,
        sqlite_where=WAITING,
    )


def downgrade() -> None:
    op.drop_index("ix_billing_slices_retry_at", table_name="billing_slices")
    for name in ("retry_at", "reason", "failures"):
        op.drop_column("billing_slices", name)
