"""callbacks of the simulated gateway that are still to be sent

Revision: 0007, after 0006, 2026-11-21 15:30:00
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "simulated_callbacks",
        sa.Column("id", _ID, nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "charge",
                "refund",
                "refund_failed",
                "chargeback",
                name="noticekind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("key", _ID, nullable=False),
        sa.Column("due_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_simulated_callbacks")),
    )
    op.create_index("ix_simulated_callbacks_due_at", "simulated_callbacks", ["due_at"])


def downgrade() -> None:
    op.drop_table("simulated_callbacks")
