"""The database: engines, the one place where transactions open, shared tables, keyset pages.

Flask-SQLAlchemy owns the engine of each application; sessions are opened here, one per transaction, so that
workers and requests share one way. SQL that only one of SQLite and Postgres understands stays in this package.
"""

from common.db.engine import db, init_database
from common.db.locks import hold
from common.db.migrate import at_head, upgrade
from common.db.pages import Page, PageQuery, fetch_page
from common.db.statements import Found, Runner, Statement
from common.db.tables import ModelBase, PlatformBase, service_metadata
from common.db.transactions import reading, rerun_lost_race, snapshot, transaction, writing
from common.db.types import Id, InstantText, UtcDateTime, enum_column
from common.db.wake import wake

__all__ = [
    "Found",
    "Id",
    "InstantText",
    "ModelBase",
    "Page",
    "PageQuery",
    "PlatformBase",
    "Runner",
    "Statement",
    "UtcDateTime",
    "at_head",
    "db",
    "enum_column",
    "fetch_page",
    "hold",
    "init_database",
    "reading",
    "rerun_lost_race",
    "service_metadata",
    "snapshot",
    "transaction",
    "upgrade",
    "wake",
    "writing",
]
