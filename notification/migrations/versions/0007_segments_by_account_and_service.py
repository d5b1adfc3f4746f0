"""Segments of broadcasts: who is barred, and who holds what

Revision: 0007, after 0006, 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

from common.db import Id, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "held_services",
        sa.Column("service_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("offering_code", sa.String(length=100), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("as_of", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_held_services")),
    )
    op.create_index("ix_held_services_user", "held_services", ["user_id", "offering_code"])
    with op.batch_alter_table("recipients") as batch_op:
        batch_op.add_column(sa.Column("barred", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("barred_as_of", UtcDateTime(), nullable=True))
    with op.batch_alter_table("broadcasts") as batch_op:
        batch_op.add_column(sa.Column("barred", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("holding", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("broadcasts") as batch_op:
        batch_op.drop_column("holding")
        batch_op.drop_column("barred")
    with op.batch_alter_table("recipients") as batch_op:
        batch_op.drop_column("barred_as_of")
        batch_op.drop_column("barred")
    op.drop_index("ix_held_services_user", table_name="held_services")
    op.drop_table("held_services")
