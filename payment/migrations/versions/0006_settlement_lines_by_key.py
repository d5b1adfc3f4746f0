"""settlement lines are found by key, kind and number: without the number SQLite walks all earlier lines

Revision: 0006, after 0005, 2026-11-21 13:38:00
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_settlement_lines_key", "settlement_lines")
    op.create_index("ix_settlement_lines_same", "settlement_lines", ["reconciliation_id", "key", "kind", "n"])


def downgrade() -> None:
    op.drop_index("ix_settlement_lines_same", "settlement_lines")
    op.create_index("ix_settlement_lines_key", "settlement_lines", ["reconciliation_id", "key"])
