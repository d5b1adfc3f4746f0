"""Transactions apart from the request at hand: its idempotency claim has no part in them."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from common.db import transaction
from common.db.transactions import companion


@contextmanager
def own_transaction() -> Iterator[Session]:
    """A transaction that stays when the request is refused or dies, and does not make its key one that was used."""
    beside = companion.set(None)
    try:
        with transaction() as session:
            yield session
    finally:
        companion.reset(beside)
