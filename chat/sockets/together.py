"""Messages that arrive at the same time are stored in one transaction; each is acknowledged after its commit.

Measured: a transaction of its own costs a message several times what storing it among others does.
"""

import threading
import time
from collections import deque

from sqlalchemy.exc import DBAPIError, OperationalError

from chat.config import Settings
from chat.schemas.conversations import SentOut
from chat.use_cases.messages import Wish, send_messages
from common.db import transaction
from common.errors import AppError, ServiceUnavailable

AT_ONCE = 50


class _Waiting:
    """A message on its way; `leads`: whoever brought it is to store it, with those behind it."""

    __slots__ = ("leads", "outcome", "ready", "wish")

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.outcome: SentOut | Exception = ServiceUnavailable("Not stored, send it again")
        self.ready = threading.Event()
        self.leads = False


class Together:
    """The messages of one process's customers. There is no thread of its own: of those who wait one does the work
    for all, then the next."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: deque[_Waiting] = deque()
        self._led = False
        self._lock = threading.Lock()

    def send(self, wish: Wish) -> SentOut:
        """As `send_message`, which see; a transaction of its own."""
        mine = _Waiting(wish)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._led = not self._led, True
        try:
            if not mine.leads:
                mine.ready.wait()
            if mine.leads:
                self._lead()
        finally:
            self._leave(mine)
        if isinstance(mine.outcome, Exception):
            raise mine.outcome
        return mine.outcome

    def _lead(self) -> None:
        time.sleep(0)  # whoever has something to say by now gets to say it
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        try:
            self._store(batch)
        finally:
            for each in batch:
                each.ready.set()

    def _leave(self, mine: _Waiting) -> None:
        """However this ends, somebody leads while somebody waits."""
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
            if not mine.leads:
                return
            following = self._waiting[0] if self._waiting else None
            self._led = following is not None
        if following is not None:
            following.leads = True
            following.ready.set()

    def _store(self, batch: list[_Waiting]) -> None:
        """One that the database refuses spoils none but itself; a database that is away is away for all."""
        outcomes: list[SentOut | Exception]
        try:
            with transaction() as session:
                sent = send_messages(session, self._settings, [each.wish for each in batch])
                outcomes = [one if isinstance(one, AppError) else SentOut.of(*one) for one in sent]
        except DBAPIError as error:
            if len(batch) > 1 and not isinstance(error, OperationalError):
                for each in batch:
                    self._store([each])
                return
            outcomes = [error] * len(batch)
        for each, outcome in zip(batch, outcomes, strict=True):
            each.outcome = outcome
