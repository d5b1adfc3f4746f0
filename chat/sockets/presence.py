"""Who is in which conversation, told alike by every process.

Each process keeps in the database who is there by a connection to it: one small transaction a second at most, and only
when somebody came or went. Each reads what the others have written and tells its own clients how that differs from
what it told them last. Nothing depends on the broker, on the order of news, or on a process saying goodbye.
"""

import logging
import threading
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from chat import broadcast
from chat.broadcast import NAMESPACE, room_of
from chat.queries import presence as queries
from chat.queries.presence import Pair
from chat.sockets.connections import Connection
from chat.use_cases.presence import record_attendance
from common import clock, ids
from common.db import reading, transaction

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
BEAT_EVERY = timedelta(seconds=5)
DEAD_AFTER = timedelta(seconds=20)
"""A process without a sign of life for so long has no clients any more."""
GRACE = timedelta(seconds=10)
"""Who is back by then, after a reload or at another process, was never away."""


class Presence:
    """The people in the conversations of one process's clients."""

    def __init__(self, app: Flask, connections: Mapping[str, Connection], server: Any) -> None:
        self._app = app
        self._connections = connections
        self._server = server
        self._process_id = ids.new_id()
        self._written: set[Pair] | None = set()
        """What the database holds of this process; None: not known."""
        self._beaten_at: datetime | None = None
        self._changes: dict[str, int] = {}
        self._around: set[Pair] = set()
        self._told: dict[str, dict[str, datetime | None]] = {}
        """By conversation, whom its clients here hold for present, and since when they are not."""
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Keep it up for ever (a background task of its own: it may have to wait for the database)."""
        while True:
            time.sleep(LOOK_EVERY_S)
            with self._app.app_context():
                try:
                    self.look()
                except SQLAlchemyError as error:
                    log.warning("presence is not known: %s", type(error).__name__)
                except Exception:
                    log.exception("presence is not known")

    def arrive(self, session: Session, conversation_id: str, newcomer: Connection) -> list[str]:
        """Somebody has joined here: tell the others, and return who else is there. From now on the newcomer hears of
        every difference to that."""
        user_id = newcomer.identity.user_id
        found = queries.people_in(session, conversation_id, clock.now() - DEAD_AFTER)
        with self._lock:
            for each in {*found, user_id}:
                self._see(conversation_id, each, knows=newcomer.sid)
            return sorted(self._told[conversation_id].keys() - {user_id})

    def look(self) -> None:
        """Write who is here, read who is elsewhere, tell what is new."""
        here = {
            (c, one.identity.user_id) for one in list(self._connections.values()) for c in list(one.joined)
        }
        self._write(here)
        present = here | self._read() if here else set()
        with self._lock:
            for conversation_id, user_id in present:
                self._see(conversation_id, user_id)
            self._miss(present)

    def _write(self, here: set[Pair]) -> None:
        due = self._beaten_at is None or clock.now() - self._beaten_at >= BEAT_EVERY
        if here == self._written and not (here and due):
            return
        if not self._written:
            self._changes = {}  # nobody was here to look
        before, self._written = self._written, None  # until it is known to be committed
        with transaction() as session:
            record_attendance(session, self._process_id, here, before)
        self._written, self._beaten_at = here, clock.now()

    def _read(self) -> set[Pair]:
        alive_since = clock.now() - DEAD_AFTER
        with reading() as session:
            changes = queries.changes(session, alive_since)
            if changes != self._changes:
                self._around = queries.around(session, self._process_id, alive_since)
                self._changes = changes
        return self._around

    def _see(self, conversation_id: str, user_id: str, *, knows: str | None = None) -> None:
        people = self._told.setdefault(conversation_id, {})
        if user_id not in people:
            self._tell(conversation_id, user_id, online=True, knows=knows)
        people[user_id] = None

    def _miss(self, present: Collection[Pair]) -> None:
        now = clock.now()
        for conversation_id, people in list(self._told.items()):
            for user_id, missing_since in list(people.items()):
                if (conversation_id, user_id) in present:
                    continue
                if missing_since is None:
                    people[user_id] = now
                elif now - missing_since >= GRACE:
                    del people[user_id]
                    self._tell(conversation_id, user_id, online=False)
            if not people:
                del self._told[conversation_id]

    def _tell(self, conversation_id: str, user_id: str, *, online: bool, knows: str | None = None) -> None:
        """To the others in it; `knows`: a connection that is told otherwise."""
        in_room = self._server.manager.get_participants(NAMESPACE, room_of(conversation_id))
        listeners = {sid: self._connections.get(sid) for sid, _ in in_room}
        skipped = [
            sid
            for sid, one in listeners.items()
            if one is None or one.identity.user_id == user_id or sid == knows
        ]
        if len(skipped) < len(listeners):
            broadcast.presence(conversation_id, user_id, online=online, skip_sids=skipped)
