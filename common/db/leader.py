"""Which one of a service's processes relays the outbox, and which one runs the jobs that are one process's.

Each is a lock of its own that dies with its holder, so another process takes over at once: an flock for SQLite, a
session advisory lock for Postgres.
"""

import fcntl
import os
from enum import StrEnum
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy import Engine

from common.db.engine import own_connection


class Role(StrEnum):
    """What one process of a service does at a time."""

    RELAY = "relay"
    JOBS = "jobs"


class Leadership:
    """Tries to lead, says whether it still does. Not thread-safe: one thread owns it."""

    def __init__(self, engine: Engine, role: Role) -> None:
        self._engine = engine
        self._role = role
        self._file: int | None = None
        self._connection: psycopg.Connection | None = None
        self._locked = False

    def acquire(self) -> bool:
        """Whether this process leads now. Cheap to repeat. Raises the driver's error when the database is away."""
        if self._engine.dialect.name == "sqlite":
            return self._acquire_file()
        return self._acquire_connection()

    def _acquire_file(self) -> bool:
        if self._file is None:
            handle = os.open(
                f"{self._engine.url.database}.{self._role}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            self._file = handle
        return True

    def _acquire_connection(self) -> bool:
        """Whoever waits keeps the connection too: a new one each second would cost the server a process each."""
        if self._connection is None:
            self._connection = own_connection(self._engine)
        if self._locked:
            self._connection.execute("SELECT 1")
        else:
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(hashtext(%s))", (self._role.value,)
            ).fetchone()
            self._locked = row is not None and bool(row[0])
        return self._locked

    def release(self) -> None:
        """Stop leading; safe to repeat."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._connection is not None:
            self._connection.close()
            self._connection, self._locked = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
