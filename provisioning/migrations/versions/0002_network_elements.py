"""network elements

Revision: 0002, after 0001, 2026-11-21 12:52:37.159548
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    elements = op.create_table(
        "network_elements",
        sa.Column(
            "element",
            sa.Enum("ocs", "hlr", "crbt", "smsc", name="element", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("next_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("answered_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("failed_at", common.db.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("element", name=op.f("pk_network_elements")),
    )
    op.bulk_insert(
        elements,
        [{"element": kind, "held": False, "failures": 0} for kind in ("ocs", "hlr", "crbt", "smsc")],
    )
    op.create_table(
        "simulated_services",
        sa.Column(
            "service_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("element", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("characteristics", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_simulated_services")),
    )
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.add_column(sa.Column("starts_at", common.db.types.UtcDateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.drop_column("starts_at")

    op.drop_table("simulated_services")
    op.drop_table("network_elements")
