"""texts changed by staff

Revision: 0003, after 0002, 2026-11-21 13:37:09.969664
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
        "text_versions",
        sa.Column("code", sa.String(length=100), nullable=False),
        sa.Column(
            "language",
            sa.Enum("en", "si", "ta", name="language", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column(
            "author_id",
            sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("created_at", common.db.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("code", "language", "channel", "version", name=op.f("pk_text_versions")),
    )


def downgrade() -> None:
    op.drop_table("text_versions")
