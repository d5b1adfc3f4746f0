"""wallets say when they are low; the ledger is append-only in the database itself

Revision: 0002, after 0001, 2026-11-21 12:50:00
"""

import sqlalchemy as sa
from alembic import op

from common.db.append_only import allow_changes, make_append_only

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "wallets", sa.Column("low_balance_minor", sa.BigInteger(), server_default="10000", nullable=False)
    )
    make_append_only("wallet_entries")


def downgrade() -> None:
    allow_changes("wallet_entries")
    op.drop_column("wallets", "low_balance_minor")
