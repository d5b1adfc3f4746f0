"""Alembic's entry: notification's own tables and the platform's."""

from common.db.migrate import run_migrations
from notification.models import Base

run_migrations(Base.metadata)
