"""how many accounts a dunning run could not dun

Revision: 0005, after 0004, 2026-11-21 18:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dunning_runs", sa.Column("failed", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("dunning_runs", "failed")
