"""the day of the bar as the customer was told it; slices of a billing run hold accounts of one currency

Revision: 0007, after 0006, 2026-11-21 21:20:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invoices", sa.Column("bar_from", sa.Date(), nullable=True))
    op.add_column("billing_slices", sa.Column("currency", sa.String(length=3), nullable=True))
    op.execute(
        "UPDATE billing_slices SET currency ="
        " (SELECT currency FROM accounts WHERE accounts.id = billing_slices.first)"
    )


def downgrade() -> None:
    op.drop_column("billing_slices", "currency")
    op.drop_column("invoices", "bar_from")
