"""Everything at once: this history is only ever one step long."""

from alembic import op

from common.db.tables import PlatformBase
from tests.support.messaging.house import Base

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    PlatformBase.metadata.create_all(op.get_bind())
    Base.metadata.create_all(op.get_bind())
