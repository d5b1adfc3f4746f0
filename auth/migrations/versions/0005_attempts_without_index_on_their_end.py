"""attempts without the index on their end, which each of them moved

Revision: 0005, after 0004, 2026-11-22
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_attempts_expires_at", table_name="attempts")


def downgrade() -> None:
    op.create_index("ix_attempts_expires_at", "attempts", ["expires_at"])
