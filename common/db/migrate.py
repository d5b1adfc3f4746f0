"""Alembic for one service: its own tables and the platform's, one history, both databases."""

from alembic import context
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from flask_migrate import upgrade as flask_upgrade
from sqlalchemy import Engine, MetaData, text

from common.db.engine import WRITE, db
from common.db.tables import PlatformBase


def upgrade() -> None:
    """Bring the current application's database to the newest migration. Safe to repeat and to race:
    the second of two waits for the first and finds nothing to do."""
    flask_upgrade()


def at_head() -> bool:
    """Whether the database's schema is the one that this code was written for, or a newer release's: both run side by
    side during an upgrade, and the former one alone after a rollback."""
    migrations = current_app.extensions["migrate"]
    script = ScriptDirectory(migrations.directory)
    with db.engine.connect() as connection:
        current = set(MigrationContext.configure(connection).get_current_heads())
    return current == set(script.get_heads()) or _newer(current, script)


def _newer(current: set[str], script: ScriptDirectory) -> bool:
    """Whether the database is at a revision that this code does not know yet. Migrations only add, so all that it needs
    is there, and there is nothing for it to migrate."""
    return bool(current - {known.revision for known in script.walk_revisions()})


def run_migrations(metadata: MetaData) -> None:
    """What each service's `migrations/env.py` calls with the metadata of its own tables."""
    engine: Engine = db.engine
    with engine.connect().execution_options(**WRITE) as connection:
        context.configure(
            connection=connection,
            target_metadata=[metadata, PlatformBase.metadata],
            render_as_batch=engine.dialect.name == "sqlite",
            compare_type=True,
            transactional_ddl=True,
        )
        with context.begin_transaction():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL lock_timeout = '60s'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('migrations'))"))
            if not _newer(set(context.get_context().get_current_heads()), context.script):
                context.run_migrations()
