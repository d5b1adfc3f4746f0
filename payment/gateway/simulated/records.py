"""Transactions of the simulated gateway: apart from the request at hand, as those of a real one are."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from common.db import transaction
from common.db.transactions import companion


@contextmanager
def own_transaction() -> Iterator[Session]:
    """A transaction that has nothing to do with the request at hand (nor with its idempotency claim)."""
    beside = companion.set(None)
    try:
        with transaction() as session:
            yield session
    finally:
        companion.reset(beside)
