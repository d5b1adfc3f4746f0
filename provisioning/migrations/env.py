"""Alembic's entry: provisioning's own tables and the platform's."""

from common.db.migrate import run_migrations
from provisioning.models import Base

run_migrations(Base.metadata)
