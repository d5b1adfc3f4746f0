"""tones, wishes, stock of orders

Revision: 0007, after 0006, 2026-11-21 15:25:00
"""

import sqlalchemy as sa
from alembic import op

import common.db.types

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "ring_tones",
        sa.Column("id", ID, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("artist", sa.String(length=120), nullable=False),
        sa.Column("genre", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ring_tones")),
        sa.UniqueConstraint("code", name=op.f("uq_ring_tones_code")),
    )
    op.create_index(op.f("ix_ring_tones_genre"), "ring_tones", ["genre"])
    op.create_table(
        "wishes",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("offering_id", ID, nullable=False),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["offering_id"], ["offerings.id"], name=op.f("fk_wishes_offering_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wishes")),
        sa.UniqueConstraint("user_id", "offering_id", name=op.f("uq_wishes_user_id_offering_id")),
    )
    op.create_index("ix_wishes_user_id_id", "wishes", ["user_id", "id"])
    with op.batch_alter_table("stock_items", schema=None) as batch_op:
        batch_op.add_column(sa.Column("order_id", ID, nullable=True))
        batch_op.create_index("ix_stock_items_order_id", ["order_id"])
    with op.batch_alter_table("stock_imports", schema=None) as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=32), server_default="done", nullable=False))
        batch_op.add_column(sa.Column("text", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("read", sa.Integer(), server_default="0", nullable=False))
    op.execute("UPDATE stock_imports SET read = lines")


def downgrade() -> None:
    with op.batch_alter_table("stock_imports", schema=None) as batch_op:
        batch_op.drop_column("read")
        batch_op.drop_column("text")
        batch_op.drop_column("state")
    with op.batch_alter_table("stock_items", schema=None) as batch_op:
        batch_op.drop_index("ix_stock_items_order_id")
        batch_op.drop_column("order_id")
    op.drop_table("wishes")
    op.drop_table("ring_tones")
