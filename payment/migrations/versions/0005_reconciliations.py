"""reconciliations

Revision: 0005, after 0004, 2026-11-21 13:26:11.313362
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
        "reconciliations",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("gateway", sa.String(length=30), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("to_on", sa.Date(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "uploading",
                "theirs",
                "ours",
                "completed",
                "refused",
                name="reconciliationstate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.String(length=60), nullable=False),
        sa.Column("matched", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_by",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("completed_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliations")),
    )
    op.create_table(
        "reconciliation_differences",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "reconciliation_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "kind",
            sa.Enum(
                "missing_here",
                "missing_there",
                "amount_differs",
                "state_differs",
                "twice_there",
                name="differencekind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "subject",
            sa.Enum("charge", "refund", name="linekind", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "key",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("ours_minor", sa.BigInteger(), nullable=True),
        sa.Column("theirs_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column(
            "resolution",
            sa.Enum("open", "gateway_asked", "by_hand", name="resolution", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column(
            "resolved_by",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("resolved_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["reconciliation_id"],
            ["reconciliations.id"],
            name=op.f("fk_reconciliation_differences_reconciliation_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_differences")),
    )
    with op.batch_alter_table("reconciliation_differences", schema=None) as batch_op:
        batch_op.create_index("ix_reconciliation_differences_run", ["reconciliation_id", "id"], unique=False)

    op.create_table(
        "settlement_lines",
        sa.Column(
            "reconciliation_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "kind", sa.Enum("charge", "refund", name="linekind", native_enum=False, length=32), nullable=False
        ),
        sa.Column(
            "key",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.ForeignKeyConstraint(
            ["reconciliation_id"], ["reconciliations.id"], name=op.f("fk_settlement_lines_reconciliation_id")
        ),
        sa.PrimaryKeyConstraint("reconciliation_id", "n", name=op.f("pk_settlement_lines")),
    )
    with op.batch_alter_table("settlement_lines", schema=None) as batch_op:
        batch_op.create_index("ix_settlement_lines_key", ["reconciliation_id", "key"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("settlement_lines", schema=None) as batch_op:
        batch_op.drop_index("ix_settlement_lines_key")

    op.drop_table("settlement_lines")
    with op.batch_alter_table("reconciliation_differences", schema=None) as batch_op:
        batch_op.drop_index("ix_reconciliation_differences_run")

    op.drop_table("reconciliation_differences")
    op.drop_table("reconciliations")
