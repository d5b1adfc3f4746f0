"""Alembic's entry: payment's own tables, the simulated gateway's and the platform's."""

import payment.gateway.simulated  # noqa: F401 -- its tables belong to the same metadata
from common.db.migrate import run_migrations
from payment.models import Base

run_migrations(Base.metadata)
