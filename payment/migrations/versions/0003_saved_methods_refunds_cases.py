"""saved methods refunds by staff cases gateway health

Revision: 0003, after 0002, 2026-11-21 13:06:52.389056
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cases",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "kind",
            sa.Enum(
                "refund_refused",
                "captured_after_failure",
                "chargeback",
                name="casekind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "payment_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "subject_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("detail", sa.String(length=200), nullable=False),
        sa.Column(
            "state",
            sa.Enum("open", "resolved", name="casestate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column(
            "resolved_by",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
        sa.UniqueConstraint("subject_id", "kind", name=op.f("uq_cases_subject_id_kind")),
    )
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.create_index("ix_cases_state_id", ["state", "id"], unique=False)

    op.create_table(
        "gateway_health",
        sa.Column("gateway", sa.String(length=30), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_gateway_health")),
    )
    op.create_table(
        "saved_methods",
        sa.Column(
            "id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "user_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("gateway", sa.String(length=30), nullable=False),
        sa.Column("token", sa.String(length=100), nullable=True),
        sa.Column("brand", sa.String(length=20), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("exp_month", sa.Integer(), nullable=False),
        sa.Column("exp_year", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending", "active", "removing", "removed", name="methodstate", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_methods")),
    )
    with op.batch_alter_table("saved_methods", schema=None) as batch_op:
        batch_op.create_index(
            "ix_saved_methods_removing",
            ["id"],
            unique=False,
            postgresql_where=sa.text("state = 'removing'"),
            sqlite_where=sa.text("state = 'removing'"),
        )
        batch_op.create_index("ix_saved_methods_user_id_id", ["user_id", "id"], unique=False)

    with op.batch_alter_table("payables", schema=None) as batch_op:
        batch_op.add_column(sa.Column("as_of", common.db.types.UtcDateTime(timezone=True), nullable=True))

    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "saved_method_id",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("released", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("action_url", sa.String(length=500), nullable=True))
        batch_op.create_index("ix_payments_reference_id", ["reference_id"])
    op.drop_index("uq_payments_holding", "payments")
    _index_holding(
        "state IN ('processing', 'requires_action', 'completed') AND reference_id IS NOT NULL AND NOT released"
    )
    op.execute("UPDATE payables SET as_of = created_at")

    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "requested_by",
                sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
                nullable=True,
            )
        )


def _index_holding(holds: str) -> None:
    """An owner has one payment at a time per order or invoice."""
    where = sa.text(holds)
    op.create_index(
        "uq_payments_holding",
        "payments",
        ["reference_id", "user_id"],
        unique=True,
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    op.drop_index("uq_payments_holding", "payments")
    _index_holding("state IN ('processing', 'requires_action', 'completed') AND reference_id IS NOT NULL")
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.drop_column("requested_by")

    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.drop_index("ix_payments_reference_id")
        batch_op.drop_column("action_url")
        batch_op.drop_column("released")
        batch_op.drop_column("saved_method_id")

    with op.batch_alter_table("payables", schema=None) as batch_op:
        batch_op.drop_column("as_of")

    with op.batch_alter_table("saved_methods", schema=None) as batch_op:
        batch_op.drop_index("ix_saved_methods_user_id_id")
        batch_op.drop_index(
            "ix_saved_methods_removing",
            postgresql_where=sa.text("state = 'removing'"),
            sqlite_where=sa.text("state = 'removing'"),
        )

    op.drop_table("saved_methods")
    op.drop_table("gateway_health")
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.drop_index("ix_cases_state_id")

    op.drop_table("cases")
