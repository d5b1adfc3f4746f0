"""Whose turn it is to write to a SQLite file, which has one writer at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError


@contextmanager
def turn(engine: Engine) -> Iterator[None]:
    """Writers of a SQLite file queue on an flock: SQLite's own waiting is a lottery (p99 300-900 ms, 30 ms so).
    Postgres needs no such thing. Raises OperationalError after the engine's lock timeout."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if not path or path == ":memory:":
        yield
        return
    try:
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:  # the disk is full, or gone
        raise OperationalError("open", None, error) from None
    try:
        _lock(handle, engine)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, engine: Engine) -> None:
    """Wait with a limit. The short sleeps let eventlet's loop go on (a blocking flock would freeze it)."""
    deadline = time.monotonic() + engine.get_execution_options()["sricare_lock_timeout"]
    pause = 0.0002
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OperationalError("flock", None, TimeoutError("database is locked")) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.004)
