"""Alembic's entry: auth's own tables and the platform's."""

from auth.models import Base
from common.db.migrate import run_migrations

run_migrations(Base.metadata)
