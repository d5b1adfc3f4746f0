"""Engine options of SQLite and Postgres, set once per application."""

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import psycopg
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, event, make_url

from common.db.statements import as_sqlalchemys
from common.db.turns import Turns, begin_immediate
from common.settings import Settings

db = SQLAlchemy()
migrate = Migrate(compare_type=True)

POSTGRES = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A machine that dies says nothing. Without these a client would wait for it, and the server keep its locks, the
leader's among them, for the two hours that TCP allows."""
_SERVER_TOO = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=25000"
)

WRITE = {"sricare_write": True}
"""Execution option of a connection that is going to write: SQLite then locks at BEGIN."""


def init_database(app: Flask, settings: Settings, migrations: Path) -> None:
    """Give the application its engine and its migrations. Opens no connection."""
    url = make_url(settings.database_url)
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _options(url.get_backend_name(), settings)
    db.init_app(app)
    migrate.init_app(app, db, directory=str(migrations), render_as_batch=url.get_backend_name() == "sqlite")
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            _configure_sqlite(db.engine, settings)


def _options(backend: str, settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_overflow,
        "pool_timeout": settings.pool_timeout_s,
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
        "hide_parameters": True,  # else what customers entered stands in the log beside each failed statement
    }
    if backend == "sqlite":
        return options | {"connect_args": {"timeout": settings.lock_timeout_s, "check_same_thread": False}}
    lock_ms = int(settings.lock_timeout_s * 1000)
    limits = f"-c lock_timeout={lock_ms} -c statement_timeout=30000 -c timezone=UTC"
    return options | {
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "connect_args": POSTGRES
        | {"application_name": settings.SERVICE, "options": f"{limits} {_SERVER_TOO}"},
    }


def own_connection(engine: Engine) -> psycopg.Connection:
    """A connection to Postgres beside the pool, for what lasts as long as its session: a lock, LISTEN.

    Raises psycopg's error when the database is away.
    """
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(url, autocommit=True, options=_SERVER_TOO, **POSTGRES)  # type: ignore[arg-type]


def _configure_sqlite(engine: Engine, settings: Settings) -> None:
    """Writers lock at BEGIN, readers do not: the driver's own transaction handling loses updates under
    concurrency (measured: 1,332 of 2,000 with four writers), so it is switched off."""
    turns = Turns(engine, str(engine.url.database), settings.lock_timeout_s)
    engine.update_execution_options(sricare_turns=turns)

    @event.listens_for(engine, "connect")
    def _connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(settings.lock_timeout_s * 1000)}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA wal_autocheckpoint=2000")  # a checkpoint holds up all writers
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "engine_disposed")
    def _disposed(_engine: Engine) -> None:
        turns.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("sricare_write", False):
            try:
                begin_immediate(connection.connection.dbapi_connection, settings.lock_timeout_s)
            except sqlite3.Error as error:
                raise as_sqlalchemys(error, connection.dialect, "BEGIN IMMEDIATE") from error
        else:  # takes no lock, so it cannot fail; straight to the driver it costs a tenth
            connection.connection.dbapi_connection.execute("BEGIN")  # type: ignore[union-attr]
