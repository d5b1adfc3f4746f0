"""Event streams of the in-app inbox: one thread per web process writes to all readers, whatever their number.

gunicorn's threads are few and a stream lasts for minutes, so the view gives the connection's socket to this thread and
is free again (docs/adr). What is new is read from the database, a few times a second for all readers together; the
inbox stays the truth: a reader that was away asks with Last-Event-ID.
"""

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from common import clock
from common.db import reading
from common.identity.requests import guard
from common.identity.tokens import Identity
from notification import queries
from notification.errors import StreamsUnavailable, TooManyStreams

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
HEARTBEAT_EVERY_S = 15.0
OVERLAP = timedelta(seconds=10)
"""Ids sort by when they were made, not by when they were committed: so far behind the last look each look goes back."""
STREAMS_EACH = 5
STREAMS_AT_MOST = 2000
UNSENT_AT_MOST = 128 * 1024
"""A reader that lets so much wait is dropped; it may come back with Last-Event-ID."""
_HELLO = b"retry: 2000\n\n"


@dataclass(eq=False)
class Reader:
    """One connection. `since`: the newest notification that it does not want any more."""

    connection: socket.socket
    identity: Identity
    since: str
    catch_up: bool
    chunked: bool
    unsent: bytearray = field(default_factory=bytearray)
    sent: set[str] = field(default_factory=set)
    writing: bool = False

    def put(self, event: bytes) -> None:
        self.unsent += b"%x\r\n%b\r\n" % (len(event), event) if self.chunked else event


class Streams:
    """The readers of one process. The thread starts with the first of them."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._per_user: dict[str, int] = defaultdict(int)
        self._count = 0
        self._joining: deque[Reader] = deque()
        self._thread: threading.Thread | None = None
        self._selector = selectors.DefaultSelector()
        self._readers: dict[str, set[Reader]] = defaultdict(set)
        self._looked_at, self._beaten_at = 0.0, time.monotonic()
        self._news_until = clock.now()

    def open(
        self, environ: Mapping[str, Any], identity: Identity, last_event_id: str | None
    ) -> Iterator[bytes]:
        """The body of the answer: its first bytes, sent by the server, after which the connection is ours.

        Raises TooManyStreams, StreamsUnavailable (a server that does not show its socket).
        """
        connection = environ.get("gunicorn.socket")
        if not isinstance(connection, socket.socket):
            raise StreamsUnavailable()
        self._enter(identity.user_id)
        return self._hand_over(connection, environ, identity, last_event_id)

    def _enter(self, user_id: str) -> None:
        with self._lock:
            if self._count >= STREAMS_AT_MOST or self._per_user[user_id] >= STREAMS_EACH:
                raise TooManyStreams(retry_after=5)
            self._count += 1
            self._per_user[user_id] += 1

    def _leave(self, user_id: str) -> None:
        with self._lock:
            self._count -= 1
            self._per_user[user_id] -= 1
            if not self._per_user[user_id]:
                del self._per_user[user_id]

    def _hand_over(
        self, connection: socket.socket, environ: Mapping[str, Any], identity: Identity, last: str | None
    ) -> Iterator[bytes]:
        handed_over = False
        since = last or first_id_at(
            clock.now()
        )  # before the reader has our answer: from then on it misses nothing
        try:
            yield _HELLO
            reader = Reader(
                _taken(connection),
                identity,
                since=since,
                catch_up=last is not None,
                chunked=environ.get("SERVER_PROTOCOL") == "HTTP/1.1",
            )
            handed_over = True
            self._joining.append(reader)
            self._ensure_running()
        finally:
            if not handed_over:
                self._leave(identity.user_id)

    def _ensure_running(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:  # whatever goes wrong with one look, the readers are served on
                log.exception("streams: a turn failed")
                time.sleep(LOOK_EVERY_S)

    def _turn(self) -> None:
        for key, events in self._selector.select(LOOK_EVERY_S):
            self._serve(key.data, events)
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            with self._app.app_context():
                self._look()
        if now - self._beaten_at >= HEARTBEAT_EVERY_S:
            self._beaten_at = now
            for reader in self._all():
                reader.put(b":\n\n")
                self._flush(reader)

    def _all(self) -> list[Reader]:
        return [reader for readers in self._readers.values() for reader in readers]

    def _serve(self, reader: Reader, events: int) -> None:
        if events & selectors.EVENT_READ:
            try:
                gone = not reader.connection.recv(4096)
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                self._drop(reader)
                return
        if events & selectors.EVENT_WRITE:
            self._flush(reader)

    def _look(self) -> None:
        """Take in who has joined, put what is new, let go whose token is not valid any more."""
        joined = []
        while self._joining:
            reader = self._joining.popleft()
            self._readers[reader.identity.user_id].add(reader)
            self._selector.register(reader.connection, selectors.EVENT_READ, reader)
            joined.append(reader)
        if not self._readers:
            self._news_until = clock.now()
            return
        try:
            self._put_news([reader for reader in joined if reader.catch_up])
            watch, now = guard().watch, clock.now().timestamp()
            for reader in self._all():
                if reader.identity.expires_at <= now or watch.refuses(reader.identity):
                    self._drop(reader)
        except SQLAlchemyError as error:
            log.warning("streams: the database is not available (%s)", type(error).__name__)

    def _put_news(self, returned: list[Reader]) -> None:
        began = clock.now()
        floor = first_id_at(self._news_until - OVERLAP)
        with reading() as session:
            wanted: dict[str, list[Reader]] = defaultdict(list)
            for notification_id, user_id in queries.notified_since(session, floor, list(self._readers)):
                for reader in self._readers.get(user_id, ()):
                    if notification_id > reader.since and notification_id not in reader.sent:
                        wanted[notification_id].append(reader)
            for reader in returned:
                for notification_id in queries.missed_by(session, reader.identity.user_id, reader.since):
                    if reader not in wanted[notification_id]:
                        wanted[notification_id].append(reader)
            items = queries.notifications_by_id(session, list(wanted))
        for item in items:
            event = b"id: %b\nevent: notification\ndata: %b\n\n" % (item["id"].encode(), orjson.dumps(item))
            for reader in wanted[item["id"]]:
                reader.put(event)
                reader.sent.add(item["id"])
        for reader in {reader for readers in wanted.values() for reader in readers}:
            reader.sent = {each for each in reader.sent if each > floor}
            self._flush(reader)
        self._news_until = began

    def _flush(self, reader: Reader) -> None:
        try:
            while reader.unsent:
                del reader.unsent[: reader.connection.send(reader.unsent)]
        except BlockingIOError:
            if len(reader.unsent) > UNSENT_AT_MOST:
                self._drop(reader)
                return
        except OSError:
            self._drop(reader)
            return
        waits = bool(reader.unsent)
        if waits != reader.writing:
            reader.writing = waits
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if waits else 0)
            self._selector.modify(reader.connection, wanted, reader)

    def _drop(self, reader: Reader) -> None:
        """Safe to repeat."""
        readers = self._readers.get(reader.identity.user_id, set())
        if reader not in readers:
            return
        readers.discard(reader)
        if not readers:
            del self._readers[reader.identity.user_id]
        self._selector.unregister(reader.connection)
        if reader.chunked and not reader.unsent:
            with contextlib.suppress(OSError):
                reader.connection.send(b"0\r\n\r\n")
        self._leave(reader.identity.user_id)
        reader.connection.close()


def _taken(connection: socket.socket) -> socket.socket:
    """The connection as a socket of our own; in the server's hands remains one that is closed at the other end, so
    that it finishes and closes as after any answer."""
    ours = socket.socket(fileno=os.dup(connection.fileno()))
    ours.setblocking(False)
    dummy, other = socket.socketpair()
    os.dup2(dummy.fileno(), connection.fileno())
    dummy.close()
    other.close()
    return ours


def first_id_at(at: datetime) -> str:
    """The smallest UUIDv7 of an instant."""
    stamp = f"{int(at.timestamp() * 1000):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"
