"""Whose turn it is to write to a SQLite file, which has one writer at a time, and on which connection.

SQLite's own waiting is a lottery: the pauses between its tries grow to 100 ms (p99 300-900 ms with four writers). So
the threads of a process queue up, and the first of each queue tries again after pauses of less than a millisecond.
These let eventlet's loop go on, which waiting inside SQLite would freeze; and whoever commits has let go before it
needs Python's own lock again.
"""

import contextlib
import sqlite3
import threading
import time
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0001, 0.0005
_queues: dict[str, threading.Lock] = {}
"""By file."""


class Turns:
    """The writers of one engine, one after the other, on a connection that is kept for them: to get one from the pool
    for each turn costs a sign-in 230 µs. While it is held no other thread of this process writes to the file, whatever
    its engine."""

    def __init__(self, engine: Engine, path: str, lock_timeout_s: float) -> None:
        self._engine = engine
        self._queue = _queues.setdefault(path, threading.Lock())
        self.lock_timeout_s = lock_timeout_s
        self._connection: Connection | None = None
        self._stale = False

    def __enter__(self) -> Connection:
        """What to write on. Raises OperationalError after the lock timeout, or when the file cannot be opened."""
        if not self._queue.acquire(timeout=self.lock_timeout_s):
            raise OperationalError("BEGIN IMMEDIATE", None, TimeoutError("database is locked"))
        kept = self._connection
        if kept is not None and not self._stale:
            return kept
        try:
            return self._connect()
        except BaseException:
            self._queue.release()
            raise

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is not None and not self._stale:
                self._stale = issubclass(error, DBAPIError) or not self._ended()
        finally:
            self._queue.release()

    def close(self) -> None:
        """Let go of the connection: now, or before the next turn if somebody has it."""
        self._stale = True
        if self._queue.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._queue.release()

    def _connect(self) -> Connection:
        self._drop()
        made = self._engine.connect()
        made.detach()  # the pool goes on without it
        made.connection.cursor().execute("PRAGMA busy_timeout=0")
        self._connection, self._stale = made, False
        return made

    def _ended(self) -> bool:
        """Whether the connection can be used again: nobody gave it up, and its transaction is over."""
        kept = self._connection
        if kept is None or kept.invalidated or kept.in_transaction():
            return False
        driver = kept.connection.dbapi_connection
        return driver is not None and not driver.in_transaction

    def _drop(self) -> None:
        kept, self._connection = self._connection, None
        if kept is not None:
            kept.close()


def turn(engine: Engine) -> AbstractContextManager[Engine | Connection]:
    """A turn to write, and what to write on. Postgres needs no such thing."""
    turns = turns_of(engine)
    return contextlib.nullcontext(engine) if turns is None else turns


def turns_of(engine: Engine | Connection) -> Turns | None:
    found: Turns | None = engine.get_execution_options().get("sricare_turns")
    return found


def begin_immediate(connection: Any, wait_s: float) -> None:
    """Lock the file of a driver's connection whose own waiting is off. Raises the driver's OperationalError when
    another process has it for so long."""
    deadline = time.monotonic() + wait_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE_S)
