"""stock and usage

Revision: 0005, after 0004, 2026-11-21 13:26:33.683974
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stock_imports",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "kind", sa.Enum("msisdn", "sim", name="stockkind", native_enum=False, length=32), nullable=False
        ),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("known", sa.Integer(), nullable=False),
        sa.Column("faulty", sa.Integer(), nullable=False),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_imports")),
    )
    op.create_table(
        "usage_records",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column(
            "user_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("drawn", sa.BigInteger(), nullable=False),
        sa.Column("used_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_records")),
    )
    with op.batch_alter_table("usage_records", schema=None) as batch_op:
        batch_op.create_index("ix_usage_records_user_id_used_at", ["user_id", "used_at"], unique=False)

    op.create_table(
        "stock_faults",
        sa.Column(
            "import_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("value", sa.String(length=60), nullable=False),
        sa.Column("message", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["stock_imports.id"], name=op.f("fk_stock_faults_import_id")),
        sa.PrimaryKeyConstraint("import_id", "line", name=op.f("pk_stock_faults")),
    )
    op.create_table(
        "stock_items",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "kind", sa.Enum("msisdn", "sim", name="stockkind", native_enum=False, length=32), nullable=False
        ),
        sa.Column("value", sa.String(length=22), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "available",
                "reserved",
                "assigned",
                "quarantined",
                name="stockstate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "user_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("until", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column(
            "import_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["stock_imports.id"], name=op.f("fk_stock_items_import_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_items")),
        sa.UniqueConstraint("value", name=op.f("uq_stock_items_value")),
    )
    with op.batch_alter_table("stock_items", schema=None) as batch_op:
        batch_op.create_index("ix_stock_items_kind_state_id", ["kind", "state", "id"], unique=False)
        batch_op.create_index("ix_stock_items_user_id", ["user_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("stock_items", schema=None) as batch_op:
        batch_op.drop_index("ix_stock_items_user_id")
        batch_op.drop_index("ix_stock_items_kind_state_id")

    op.drop_table("stock_items")
    op.drop_table("stock_faults")
    with op.batch_alter_table("usage_records", schema=None) as batch_op:
        batch_op.drop_index("ix_usage_records_user_id_used_at")

    op.drop_table("usage_records")
    op.drop_table("stock_imports")
