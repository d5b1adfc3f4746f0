"""cards left at a gateway for one payment only are found to be forgotten; lines are cleared in batches

Revision: 0009, after 0008, 2026-11-21 16:05:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_LEFT = sa.text("gateway_token IS NOT NULL AND saved_method_id IS NULL")


def upgrade() -> None:
    op.create_index("ix_payments_token_left", "payments", ["id"], postgresql_where=_LEFT, sqlite_where=_LEFT)
    op.add_column(
        "reconciliations", sa.Column("cleared", sa.BigInteger(), server_default="0", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("reconciliations", "cleared")
    op.drop_index("ix_payments_token_left", "payments")
