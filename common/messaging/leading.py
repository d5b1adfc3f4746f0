"""The thread that tries to lead in a role among this service's processes and, while it does, hears its wake-ups."""

import logging
import threading
import time
from collections.abc import Callable

import psycopg
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from common.db import db
from common.db.leader import Leadership, Role
from common.db.wake import listen

log = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
_LISTEN_S = 0.5
_DATABASE_AWAY = (SQLAlchemyError, psycopg.Error, OSError)


class Leader:
    """Sets `leads` while this process is the one; calls `ring(names)` for wake-ups, with None for all at the start."""

    def __init__(
        self,
        app: Flask,
        role: Role,
        leads: threading.Event,
        ring: Callable[[set[str] | None], None],
        stop: threading.Event,
    ) -> None:
        self._app = app
        self._role = role
        self._leads = leads
        self._ring = ring
        self._stop = stop

    def run(self) -> None:
        """Try to lead until stopped, whatever the database does."""
        told = False
        with self._app.app_context():
            while not self._stop.is_set():
                try:
                    with Leadership(db.engine, self._role) as leadership:
                        self._try(leadership)
                    told = False
                except _DATABASE_AWAY as error:
                    log.log(
                        logging.DEBUG if told else logging.WARNING,
                        "%s: the database is not available (%s)",
                        self._role,
                        type(error).__name__,
                    )
                    told = True
                finally:
                    self._leads.clear()
                self._stop.wait(CHECK_EVERY_S)

    def _try(self, leadership: Leadership) -> None:
        """Lead once it is our turn; returns when stopped, or when the lead is lost."""
        while not leadership.acquire():
            if self._stop.wait(CHECK_EVERY_S):
                return
        listener = listen(db.engine, self._role)
        try:
            log.info("%s: this process leads", self._role)
            self._leads.set()
            self._ring(None)
            checked_at = time.monotonic()
            while not self._stop.is_set():
                names = listener.wait(_LISTEN_S)
                if names:
                    self._ring(names)
                if time.monotonic() - checked_at > CHECK_EVERY_S:
                    if not leadership.acquire():
                        return
                    checked_at = time.monotonic()
        finally:
            listener.close()
