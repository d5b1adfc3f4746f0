"""Callbacks of the simulated gateway, over real HTTP: late, more than once and in any order, as real ones come."""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import reading, wake
from payment.gateway import Notice, NoticeKind
from payment.gateway.simulated.tables import SimulatedCallback
from payment.models import insert_rows
from payment.transactions import own_transaction

log = logging.getLogger(__name__)

BATCH = 100
TIMEOUT_S = 5.0
ATTEMPTS = 12
"""After so many refusals or silences a callback is dropped, as gateways do: the outcome can still be asked for."""

Signer = Callable[[Notice], tuple[bytes, Mapping[str, str]]]


@dataclass(frozen=True)
class Callbacks:
    """Where callbacks go. Each of the `copies` is sent at some time within `latest` of what it tells of."""

    url: str
    latest: timedelta = timedelta()
    copies: int = 1
    rng: random.Random = field(default_factory=random.Random)

    def announce(self, session: Session, kind: NoticeKind, key: str) -> None:
        """Have something told, once the session commits."""
        now = clock.now()
        rows = (
            SimulatedCallback(
                id=ids.new_id(),
                kind=kind,
                key=key,
                due_at=now + self.latest * self.rng.random(),
                attempts=0,
                created_at=now,
            )
            for _ in range(self.copies)
        )
        insert_rows(session, *rows)
        wake(session, "callbacks")

    def send_due(self, sign: Signer) -> bool:
        """Send what is due, outside of any transaction; True when there may be more."""
        wanted = select(SimulatedCallback).where(SimulatedCallback.due_at <= clock.now())
        with reading() as session:
            due = session.scalars(wanted.order_by(SimulatedCallback.due_at).limit(BATCH)).all()
        if due:
            with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
                for callback in due:
                    self._send(client, sign, callback)
        return len(due) == BATCH

    def _send(self, client: httpx.Client, sign: Signer, callback: SimulatedCallback) -> None:
        body, headers = sign(Notice(callback.kind, callback.key))
        try:
            answer = client.post(self.url, content=body, headers=dict(headers))
            taken = answer.is_success
        except httpx.HTTPError as error:
            log.warning("callback %s was not taken: %s", callback.id, type(error).__name__)
            taken = False
        _settle(callback, taken)


def _settle(callback: SimulatedCallback, taken: bool) -> None:
    mine = SimulatedCallback.id == callback.id
    attempts = callback.attempts + 1
    with own_transaction() as session:
        if taken or attempts >= ATTEMPTS:
            session.execute(delete(SimulatedCallback).where(mine))
            return
        pause = timedelta(seconds=min(5 * 2**attempts, 3600))
        session.execute(
            update(SimulatedCallback).where(mine).values(attempts=attempts, due_at=clock.now() + pause)
        )
