"""Whose turn it is to write to a SQLite file, which has one writer at a time.

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

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0001, 0.0005
_queues: dict[str, threading.Lock] = {}
"""By file."""


_NOBODY = contextlib.nullcontext()


def turn(engine: Engine) -> AbstractContextManager[Any]:
    """While it is held, no other thread of this process writes; it is held from here to the end of the `with`. Postgres
    needs no such thing. Raises OperationalError after the engine's lock timeout."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if not path or path == ":memory:":
        return _NOBODY
    queue = _queues.get(path) or _queues.setdefault(path, threading.Lock())
    if not queue.acquire(timeout=engine.get_execution_options()["sricare_lock_timeout"]):
        raise OperationalError("BEGIN IMMEDIATE", None, TimeoutError("database is locked"))
    return _Held(queue)


class _Held:
    """A queue's lock, for a `with` (a generator's frame would cost more where caches are cold)."""

    __slots__ = ("_queue",)

    def __init__(self, queue: threading.Lock) -> None:
        self._queue = queue

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._queue.release()


def begin_immediate(connection: Any, engine: Engine) -> None:
    """Lock the file of a driver's connection. Its own waiting stays off until the pool has it back.

    Raises the driver's OperationalError, after the engine's lock timeout when another process has the file.
    """
    deadline = time.monotonic() + engine.get_execution_options()["sricare_lock_timeout"]
    pause = _FIRST_PAUSE_S
    connection.execute("PRAGMA busy_timeout=0")
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE_S)
