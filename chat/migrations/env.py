"""Alembic's entry: chat's own tables and the platform's."""

from chat.models import Base
from common.db.migrate import run_migrations

run_migrations(Base.metadata)
