"""which services are off, so that an activation that comes later brings nothing back

Revision: 0006, after 0005, 2026-11-21 18:50:00
"""

import sqlalchemy as sa
from alembic import op

from common.db.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ended_services",
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_ended_services")),
    )


def downgrade() -> None:
    op.drop_table("ended_services")
