"""Migrated databases on Postgres, handed on from one test to the next as if they were new.

Making one costs files and two checkpoints, three times as much processor time as emptying one that was used.
"""

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from tests.support.postgres import PostgresServer

TABLES = "FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
FILLED = f"SELECT relname {TABLES} AND pg_relation_size(oid) > 0 ORDER BY relname"
LEAVE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
SCHEMA = (
    "pg_class",
    "pg_attribute",
    "pg_attrdef",
    "pg_index",
    "pg_constraint",
    "pg_trigger",
    "pg_proc",
    "pg_type",
)
CHANGED = " UNION ALL ".join(f"SELECT xmin::text::bigint AS by FROM {catalogue}" for catalogue in SCHEMA)
NOW = "SELECT pg_current_xact_id()::text::bigint"


class Pristine:
    """The databases of one service on one server, made of a template that nobody connects to any more."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server = server
        self.template = template
        with self._connect(template) as connection:
            self._rows = {
                table: self._copy_out(connection, table) for (table,) in connection.execute(FILLED).fetchall()
            }
            self._schema_rows, _ = self._schema(connection)
        self._idle: list[str] = []
        self._since: dict[str, int] = {}

    def take(self) -> str:
        """The URL of a database that is as the migrations leave it, nobody else's until it is given back."""
        if self._idle:
            return self._server.url(self._idle.pop())
        url = self._server.create_database(template=self.template)
        with self._connect(url.rsplit("/", 1)[1]) as connection:
            self._remember(connection)
        return url

    def give_back(self, url: str) -> None:
        """End who is still connected and undo what was written; a database whose schema was changed goes."""
        name = str(make_url(url).database)
        try:
            with self._connect(name) as connection:
                connection.execute(LEAVE)
                rows, newest = self._schema(connection)
                untouched = rows == self._schema_rows and newest <= self._since.pop(name)
                if untouched:
                    self._empty(connection)
                    self._remember(connection)
        except psycopg.OperationalError:
            untouched = False
        if untouched:
            self._idle.append(name)
        else:
            self._server.drop_database(name)

    def _empty(self, connection: psycopg.Connection) -> None:
        filled = [sql.Identifier(table) for (table,) in connection.execute(FILLED).fetchall()]
        with connection.transaction():
            connection.execute(
                "SET LOCAL session_replication_role = replica"
            )  # triggers and foreign keys rest
            connection.execute(
                sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(sql.SQL(", ").join(filled))
            )
            for table, rows in self._rows.items():
                with connection.cursor().copy(
                    sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
                ) as copy:
                    copy.write(rows)

    @staticmethod
    def _schema(connection: psycopg.Connection) -> tuple[int, int]:
        """How many rows describe the schema, and which transaction wrote the newest of them."""
        found = connection.execute(f"SELECT count(*), max(by) FROM ({CHANGED}) AS rows").fetchone()
        assert found is not None
        return found[0], found[1]

    def _remember(self, connection: psycopg.Connection) -> None:
        """What is older than now in the catalogues is the template's, or our own emptying."""
        found = connection.execute(NOW).fetchone()
        assert found is not None
        (self._since[str(connection.info.dbname)],) = found

    @staticmethod
    def _copy_out(connection: psycopg.Connection, table: str) -> bytes:
        with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
            return b"".join(bytes(part) for part in copy)

    def _connect(self, database: str) -> psycopg.Connection:
        address = make_url(self._server.url(database))
        return psycopg.connect(
            host=address.host, port=address.port, user=address.username, dbname=database, autocommit=True
        )
