"""Alembic's entry: the house's own table and the platform's."""

from common.db.migrate import run_migrations
from tests.support.messaging.house import Base

run_migrations(Base.metadata)
