"""early receipts and broadcasts

Revision: 0004, after 0003, 2026-11-21 15:31:01.703166
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
        "broadcasts",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "category",
            sa.Enum(
                "account",
                "orders",
                "billing",
                "payments",
                "care",
                "marketing",
                "security",
                "statutory",
                name="category",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("languages", sa.JSON(), nullable=False),
        sa.Column("user_ids", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("texts", sa.JSON(), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("starts_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "scheduled",
                "running",
                "finished",
                "cancelled",
                name="broadcaststate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "reached",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column(
            "author_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("paced_from", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcasts")),
    )
    with op.batch_alter_table("broadcasts", schema=None) as batch_op:
        batch_op.create_index(
            "ix_broadcasts_unended",
            ["starts_at"],
            unique=False,
            postgresql_where=sa.text("state IN ('scheduled', 'running')"),
            sqlite_where=sa.text("state IN ('scheduled', 'running')"),
        )

    op.create_table(
        "early_receipts",
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("received_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", "reference", name=op.f("pk_early_receipts")),
    )


def downgrade() -> None:
    op.drop_table("early_receipts")
    with op.batch_alter_table("broadcasts", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_broadcasts_unended",
            postgresql_where=sa.text("state IN ('scheduled', 'running')"),
            sqlite_where=sa.text("state IN ('scheduled', 'running')"),
        )

    op.drop_table("broadcasts")
