"""vouchers transfers recharging

Revision: 0004, after 0003, 2026-11-21 13:20:11.698800
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("phone", sa.String(length=20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("as_of", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customers")),
    )
    with op.batch_alter_table("customers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_customers_phone"), ["phone"], unique=False)

    op.create_table(
        "voucher_guesses",
        sa.Column(
            "user_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_voucher_guesses")),
    )
    op.create_table(
        "vouchers",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("batch", sa.String(length=50), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=True),
        sa.Column(
            "state",
            sa.Enum("active", "redeemed", name="voucherstate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "redeemed_by",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("redeemed_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_vouchers_amount_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vouchers")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_vouchers_code_hash")),
    )
    with op.batch_alter_table("vouchers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vouchers_batch"), ["batch"], unique=False)

    with op.batch_alter_table("wallets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("recharge_below_minor", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("recharge_amount_minor", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column(
                "recharge_method_id",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                nullable=True,
            )
        )
        batch_op.add_column(
            sa.Column(
                "recharging_by",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("recharge_failures", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("closed_at", common.db.types.UtcDateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("wallets", schema=None) as batch_op:
        batch_op.drop_column("closed_at")
        batch_op.drop_column("recharge_failures")
        batch_op.drop_column("recharging_by")
        batch_op.drop_column("recharge_method_id")
        batch_op.drop_column("recharge_amount_minor")
        batch_op.drop_column("recharge_below_minor")

    with op.batch_alter_table("vouchers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_vouchers_batch"))

    op.drop_table("vouchers")
    op.drop_table("voucher_guesses")
    with op.batch_alter_table("customers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_customers_phone"))

    op.drop_table("customers")
