"""`transaction()` and `reading()`, and both without a session: the only places where a database transaction opens."""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, Protocol, TypeVar

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SAWarning

from common.db import wake as wakeups
from common.db.closing import closing_of
from common.db.engine import db
from common.db.session import Session
from common.db.statements import Bare, Runner
from common.db.turns import turn

warnings.filterwarnings("error", message=".*Connection is already established.*", category=SAWarning)

P = ParamSpec("P")
T = TypeVar("T")


_ONE_VIEW = {"isolation_level": "REPEATABLE READ"}
"""Postgres: else each statement sees what has been committed by then. SQLite has it so anyway."""


class Companion(Protocol):
    """Something whose own row must be part of the request's transaction (an idempotency claim)."""

    def enter(self) -> None:
        """Called first thing in each transaction."""

    def before_commit(self, session: Session) -> None:
        """Called in each transaction that did not fail, to add to what it writes last."""

    def conflict(self, error: IntegrityError) -> None:
        """Called when what is written last meets a key that is taken. Raises what that means, if it knows."""

    def leave(self, *, committed: bool) -> None:
        """Called when the transaction is over, however it ended."""


companion: ContextVar[Companion | None] = ContextVar("companion", default=None)


@contextmanager
def transaction() -> Iterator[Session]:
    """A writing transaction: commits when the block ends, rolls back when it raises.

    On SQLite the lock is taken here, so validate and build before entering. On Postgres rows are locked by
    `with_for_update()`, before any other reading of them: what a session has loaded it does not load anew. Never call
    anything outside the database inside the block. Objects stay readable after it.
    """
    engine = db.engine
    beside = companion.get()
    with turn(engine) as on, Session(on, expire_on_commit=False) as session:
        session.begin_writing()
        committed = False
        try:
            if beside is not None:
                beside.enter()
            yield session
            _close(session, beside)
            session.commit()
            committed = True
        except BaseException:
            session.rollback()
            raise
        finally:
            if beside is not None:
                beside.leave(committed=committed)
    wakeups.after_commit(session, engine)


def _close(session: Session, beside: Companion | None) -> None:
    session.flush()
    if beside is not None:
        beside.before_commit(session)
    wakeups.before_commit(session)
    try:
        closing_of(session).run(session)
    except IntegrityError as error:
        if beside is not None:
            beside.conflict(error)
        raise


@contextmanager
def writing() -> Iterator[Runner]:
    """As `transaction()`, for `Statement`s only: no models, no events. SQLAlchemy's session and connection around them
    cost a sign-in 500 µs more, when a hash has just emptied the processor's caches."""
    if companion.get() is not None:  # its row is part of the request's transaction
        with transaction() as session:
            yield session.connection()
        return
    with turn(db.engine) as on:
        bare = Bare(on)
        try:
            bare.begin()
            yield bare
            bare.commit()
        except BaseException:
            bare.roll_back()
            raise
        finally:
            bare.close()


@contextmanager
def reading() -> Iterator[Session]:
    """One consistent view for queries, from the first of them on; takes no lock and keeps nothing."""
    with Session(db.engine, expire_on_commit=False, autoflush=False) as session:
        if db.engine.dialect.name == "postgresql":
            session.connection(execution_options=_ONE_VIEW)
        yield session


@contextmanager
def snapshot() -> Iterator[Connection]:
    """A bare connection for the one Core select of a hot list: a session around it costs 30 µs more than that."""
    with db.engine.connect() as connection:
        yield connection


def rerun_lost_race(work: Callable[P, T]) -> Callable[P, T]:
    """Run a function that opens one transaction, and once more if it lost a race: a unique key that another
    took meanwhile, a deadlock or a serialisation failure. The second run sees what the winner wrote."""

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except DBAPIError as error:
            if not lost_race(error):
                raise
            return work(*args, **kwargs)

    return run


def lost_race(error: DBAPIError) -> bool:
    """Whether the statement failed only because of another transaction."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is not None:
        return sqlstate in ("23505", "40001", "40P01")
    return isinstance(error, IntegrityError) and _SQLITE_TAKEN in str(error.orig)


def key_taken(error: DBAPIError, table: str) -> bool:
    """Whether the statement failed because of a unique key of this table that another row has."""
    if isinstance(error.orig, psycopg.errors.UniqueViolation):
        return error.orig.diag.table_name == table
    return isinstance(error, IntegrityError) and f"{_SQLITE_TAKEN}: {table}." in str(error.orig)


_SQLITE_TAKEN = "UNIQUE constraint failed"
