"""cards that are being left at a gateway, so that none is forgotten there

Revision: 0010, after 0009, 2026-11-21 18:20:00
"""

import sqlalchemy as sa
from alembic import op

from common.db.types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cards_left",
        sa.Column("key", sa.String(length=36), nullable=False),
        sa.Column("gateway", sa.String(length=30), nullable=False),
        sa.Column("left_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cards_left")),
    )


def downgrade() -> None:
    op.drop_table("cards_left")
