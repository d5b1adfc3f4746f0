"""fresh proof of who is signed in, numbers of closed accounts

Revision: 0003, after 0002, 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sessions", sa.Column("proved_at", common.db.types.UtcDateTime(timezone=True), nullable=True)
    )
    op.add_column("users", sa.Column("released_phone", sa.String(length=20), nullable=True))
    op.add_column("users", sa.Column("released_email", sa.String(length=254), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "released_email")
    op.drop_column("users", "released_phone")
    op.drop_column("sessions", "proved_at")
