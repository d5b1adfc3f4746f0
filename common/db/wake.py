"""Waking a service's relay and jobs the moment that a transaction commits, instead of letting them poll.

Postgres: NOTIFY inside the transaction, delivered by its commit. SQLite: a named pipe beside the database file. Each
role has its own, since two processes may have them. A lost wake-up costs at most one polling interval, never an event:
the rows are the truth.
"""

import contextlib
import errno
import logging
import os
import select
from functools import cache
from typing import Any, Protocol

import psycopg
from sqlalchemy import Engine, Select, bindparam, func
from sqlalchemy import select as sql_select
from sqlalchemy.orm import Session

from common.db.closing import closing_of
from common.db.engine import own_connection
from common.db.leader import Role

log = logging.getLogger(__name__)

OUTBOX = "outbox"


def wake(session: Session, name: str) -> None:
    """Have `name` (`outbox`, or a job's name) run as soon as this session commits."""
    session.info.setdefault("wake", set()).add(name)


def before_commit(session: Session) -> None:
    names = session.info.get("wake")
    if names and session.get_bind().dialect.name == "postgresql":
        told = _by_role(names)
        closing_of(session).add(_notifying(tuple(told)), {f"told_{role}": told[role] for role in told})


@cache
def _notifying(roles: tuple[Role, ...]) -> Select[Any]:
    return sql_select(*(func.pg_notify(_channel(role), bindparam(f"told_{role}")) for role in roles))


def after_commit(session: Session, engine: Engine) -> None:
    names = session.info.pop("wake", None)
    if names and engine.dialect.name == "sqlite":
        for role, told in _by_role(names).items():
            _ring(_pipe(engine, role), told)


def _by_role(names: set[str]) -> dict[Role, str]:
    """What each role that is meant is told: names with spaces between them."""
    told = {Role.RELAY: OUTBOX} if OUTBOX in names else {}
    jobs = sorted(names - {OUTBOX})
    return told | {Role.JOBS: " ".join(jobs)} if jobs else told


def _channel(role: Role) -> str:
    return f"sricare_{role}"


def _pipe(engine: Engine, role: Role) -> str:
    return f"{engine.url.database}.{role}.wake"


def _ring(path: str, names: str) -> None:
    """Never fails: the transaction has committed, and whoever waits for the ring polls too."""
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENOENT):  # those: nobody listens
            log.warning("the worker cannot be woken: %s", error.strerror)
        return
    try:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # full: the listener is awake already
            os.write(pipe, f"{names}\n".encode())
    finally:
        os.close(pipe)


class Listener(Protocol):
    """Waits for a role's wake-ups; one per service at a time (of the process that leads)."""

    def wait(self, timeout: float) -> set[str]:
        """The names rung since the last call, or an empty set after `timeout` seconds."""

    def close(self) -> None: ...


def listen(engine: Engine, role: Role) -> Listener:
    """A listener for the database of `engine`. Raises the driver's OperationalError when it is away."""
    if engine.dialect.name == "sqlite":
        return PipeListener(_pipe(engine, role))
    return NotifyListener(own_connection(engine), _channel(role))


class PipeListener:
    """Reads the named pipe beside a SQLite file."""

    def __init__(self, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, timeout: float) -> set[str]:
        ready, _, _ = select.select([self._pipe], [], [], timeout)
        return set(os.read(self._pipe, 65536).decode().split()) if ready else set()

    def close(self) -> None:
        os.close(self._pipe)


class NotifyListener:
    """LISTENs on a Postgres connection of its own."""

    def __init__(self, connection: psycopg.Connection, channel: str) -> None:
        self._connection = connection
        self._connection.execute(f"LISTEN {channel}")

    def wait(self, timeout: float) -> set[str]:
        names: set[str] = set()
        for notice in self._connection.notifies(timeout=timeout, stop_after=1):
            names |= set(notice.payload.split())
        return names

    def close(self) -> None:
        self._connection.close()
