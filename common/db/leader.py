"""Which one of a service's workers relays the outbox and runs the jobs.

The lock dies with its holder, so another worker takes over at once: an flock for SQLite, a session advisory lock
for Postgres.
"""

import fcntl
import os
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy import Engine

from common.db.engine import own_connection


class Leadership:
    """Tries to lead, says whether it still does. Not thread-safe: one thread owns it."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._file: int | None = None
        self._connection: psycopg.Connection | None = None

    def acquire(self) -> bool:
        """Whether this process leads now. Cheap to repeat. Raises the driver's error when the database is away."""
        if self._engine.dialect.name == "sqlite":
            return self._acquire_file()
        return self._acquire_connection()

    def _acquire_file(self) -> bool:
        if self._file is None:
            handle = os.open(
                f"{self._engine.url.database}.{self._name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            self._file = handle
        return True

    def _acquire_connection(self) -> bool:
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
                return True
            except psycopg.Error:
                self.release()
        connection = own_connection(self._engine)
        row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (self._name,)).fetchone()
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        """Stop leading; safe to repeat."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
