"""`writing()`: a writing transaction without a session, for what is hot."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from common.db.engine import WRITE, db
from common.db.transactions import _turn, companion, transaction


@contextmanager
def writing() -> Iterator[Connection]:
    """As `transaction()`, for bare statements only: no models, no events. A session around them costs a sign-in some
    200 µs more, when a hash has just emptied the processor's caches."""
    if companion.get() is not None:  # its row is part of the request's transaction
        with transaction() as session:
            yield session.connection()
        return
    engine = db.engine
    with _turn(engine), engine.connect() as connection:
        connection.execution_options(**WRITE)
        with connection.begin():
            yield connection
