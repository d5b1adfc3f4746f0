"""renewals starts eligibility

Revision: 0003, after 0002, 2026-11-21 13:05:23.997352
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "order_id",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                nullable=True,
            )
        )

    with op.batch_alter_table("offerings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("requires", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("excludes", sa.JSON(), server_default="[]", nullable=False))

    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("starts_at", common.db.types.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(
            sa.Column(
                "renews_service_id",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("pay_by", common.db.types.UtcDateTime(timezone=True), nullable=True))

    with op.batch_alter_table("services", schema=None) as batch_op:
        batch_op.add_column(sa.Column("renews", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(
            sa.Column(
                "renewal_order_id",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("warned_days", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE services SET renews = TRUE WHERE expires_at IS NOT NULL"
        " AND order_id IN (SELECT id FROM orders WHERE recurring)"
    )


def downgrade() -> None:
    with op.batch_alter_table("services", schema=None) as batch_op:
        batch_op.drop_column("warned_days")
        batch_op.drop_column("renewal_order_id")
        batch_op.drop_column("renews")

    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_column("pay_by")
        batch_op.drop_column("renews_service_id")
        batch_op.drop_column("starts_at")

    with op.batch_alter_table("offerings", schema=None) as batch_op:
        batch_op.drop_column("excludes")
        batch_op.drop_column("requires")

    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.drop_column("order_id")
