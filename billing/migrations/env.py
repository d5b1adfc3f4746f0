"""Alembic's entry: billing's own tables and the platform's."""

from billing.models import Base
from common.db.migrate import run_migrations

run_migrations(Base.metadata)
