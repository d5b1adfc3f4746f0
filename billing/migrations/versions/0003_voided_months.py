"""what an invoice bills, so that a voided month can be billed again

Revision: 0003, after 0002, 2026-11-21 15:45:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BEFORE = sa.text("run_id IS NOT NULL")
NOW = sa.text("run_id IS NOT NULL AND state <> 'void'")


def upgrade() -> None:
    op.add_column("invoices", sa.Column("billed_items", sa.Text(), nullable=True))
    op.create_index(
        "uq_invoices_run_period",
        "invoices",
        ["account_id", "period"],
        unique=True,
        postgresql_where=NOW,
        sqlite_where=NOW,
    )
    op.drop_index("uq_invoices_run", table_name="invoices")


def downgrade() -> None:
    """Only while no month has been billed again after a void."""
    op.create_index(
        "uq_invoices_run",
        "invoices",
        ["account_id", "period"],
        unique=True,
        postgresql_where=BEFORE,
        sqlite_where=BEFORE,
    )
    op.drop_index("uq_invoices_run_period", table_name="invoices")
    op.drop_column("invoices", "billed_items")
