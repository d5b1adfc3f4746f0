"""The Socket.IO side of a process: its connections, and the gate that all their events pass.

A connection's events are handled one after the other, so that what a client sends in a row is stored in that order
and a flood delays nobody but its sender.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from flask_socketio import SocketIO, join_room
from prometheus_client import Counter
from pydantic import ValidationError
from socketio.exceptions import ConnectionRefusedError
from sqlalchemy.exc import SQLAlchemyError

from chat import broadcast
from chat.broadcast import CARE_ROOM, NAMESPACE
from chat.config import AsyncMode, Settings
from chat.errors import UnknownEvent
from chat.floods import Bucket, Buckets
from chat.queries import conversations as queries
from chat.schemas.conversations import ConversationOut
from chat.sockets.client_events import HANDLERS
from chat.sockets.connections import Connection
from chat.sockets.doorstep import PATH, with_doorstep
from chat.sockets.presence import Presence
from chat.sockets.together import Together
from chat.use_cases import care
from common import context, ids, tracing
from common.db import reading, transaction
from common.errors import (
    AppError,
    InternalError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
)
from common.identity import InvalidToken
from common.identity.keys import KeysUnavailable
from common.identity.requests import guard
from common.web.problems import from_database, from_validation

log = logging.getLogger(__name__)

LARGEST_FRAME = 1_310_720
"""A frame of up to 1.25 MiB is read, and refused politely when too long; a larger one ends its connection."""
WATCH_EVERY_S = 1.0
AGENTS_SEEN_EVERY_S = 15.0
FLOOD_ENDS_CONNECTION = 1000
"""A connection with so many events refused for their number is ended: it is no client of ours."""

PAUSE_OF_FLOODS_S = 0.002
"""Who floods waits for each refusal, and the others have their turn meanwhile: a socket that always has something to
read would otherwise never give the loop away."""
HANG_UP_AFTER_S = 1.0

EVENTS = Counter("chat_socket_events_total", "Socket.IO events handled", ["event", "outcome"])


class Sockets:
    """The Socket.IO side of one process: its connections and the gate that all their events pass."""

    def __init__(self, app: Flask, settings: Settings, async_mode: AsyncMode, manager: object = None) -> None:
        self._app = app
        self._settings = settings
        self._connections: dict[str, Connection] = {}
        self._users = Buckets(settings.events_per_s, settings.events_burst)
        self._agents_seen_at = float("-inf")
        self._draining = False
        self._behind = False
        self._busy = 0
        self._lock = threading.Lock()
        quiet = logging.getLogger("socketio")
        quiet.setLevel(logging.WARNING)  # it logs every packet, with what it says, at INFO
        options: dict[str, Any] = {
            "async_mode": async_mode,
            "async_handlers": False,
            "max_http_buffer_size": LARGEST_FRAME,
            "cors_allowed_origins": _origins(settings),
            "logger": quiet,
            "engineio_logger": quiet,
        }
        if manager is not None:
            options["client_manager"] = manager
        self.socketio = SocketIO(app, path=PATH, manage_session=False, **options)
        self.server: Any = self.socketio.server  # type: ignore[attr-defined]
        app.extensions["chat_sockets"] = self
        app.extensions["chat_together"] = Together(settings)
        self.presence = Presence(app, self._connections, self.server)
        app.extensions["chat_presence"] = self.presence
        app.wsgi_app = with_doorstep(app, app.wsgi_app, secure=settings.public_url.startswith("https://"))  # type: ignore[method-assign]
        # Not Flask-SocketIO's `on_event`: it makes a request context for every event, an eighth of what one costs.
        self.server.on("connect", self._connect, NAMESPACE)
        self.server.on("disconnect", self._disconnect, NAMESPACE)
        self.server.on("*", self._receive, NAMESPACE)

    def watch(self) -> None:
        """What must happen without an event, every second, for ever (a background task)."""
        while True:
            time.sleep(WATCH_EVERY_S)
            with self._app.app_context():
                self._look_after_connections()

    def _look_after_connections(self) -> None:
        """Whatever goes wrong, the next second comes: else who was revoked would stay."""
        try:
            self._end_the_unwelcome()
            self._keep_agents_seen()
            self._users.forget_the_full()
            if self._behind:
                self._behind = False
                self.catch_up()
        except (KeysUnavailable, SQLAlchemyError) as error:
            self._behind = True  # perhaps for nothing, which does no harm
            log.warning("connections cannot be looked after: %s", type(error).__name__)
        except Exception:
            self._behind = True
            log.exception("connections cannot be looked after")

    def catch_up_soon(self) -> None:
        """Have `watch` do it: the fan-out's listener must not wait for a database."""
        self._behind = True

    def catch_up(self) -> None:
        """Let the clients here compare their `last_seq`: what other processes told meanwhile did not arrive."""
        joined = {conversation for c in list(self._connections.values()) for conversation in c.joined}
        with self._app.app_context():
            for some in _chunks(sorted(joined), 500):
                with reading() as session:
                    found = [ConversationOut.of(row) for row in queries.conversations_by_id(session, some)]
                for conversation in found:
                    broadcast.conversation_updated(conversation, here_only=True)

    def drain(self, within: float) -> None:
        """Take no more events, finish those in hand, then drop every connection so that its client reconnects.

        No Socket.IO disconnect is sent: clients take that for a dismissal and stay away.
        """
        self._draining = True
        deadline = time.monotonic() + within
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.02)
        for socket in list(self.server.eio.sockets.values()):
            socket.close(wait=False, abort=True)

    def _end_the_unwelcome(self) -> None:
        """Disconnect those whose session was revoked or whose token expired, however silent."""
        for connection in list(self._connections.values()):
            try:
                guard().admit(connection.token)
            except InvalidToken:
                self._end(connection.sid)

    def _keep_agents_seen(self) -> None:
        """Agents with a connection here are at work, though they say nothing."""
        now = time.monotonic()
        if now - self._agents_seen_at < AGENTS_SEEN_EVERY_S:
            return
        connected = {c.identity.user_id for c in list(self._connections.values()) if c.is_care}
        if connected:
            with transaction() as session:
                care.keep_agents_seen(session, sorted(connected))
        self._agents_seen_at = now

    def _connect(self, sid: str, _environ: object, auth: object = None) -> object:
        if sid in self._connections:  # a client sent an event of this name
            return _refusal(UnknownEvent())
        with self._app.app_context():
            self._let_in(sid, auth)
        return None

    def _let_in(self, sid: str, auth: object) -> None:
        if self._draining:
            raise _refused(ServiceUnavailable("This process is going down, connect again"))
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise _refused(Unauthorized())
        try:
            bucket = Bucket(self._settings.events_per_s, self._settings.events_burst)
            connection = Connection(sid, token, guard().admit(token), bucket)
        except InvalidToken:
            raise _refused(Unauthorized("The access token is not valid")) from None
        except (KeysUnavailable, SQLAlchemyError):
            raise _refused(ServiceUnavailable("Tokens cannot be verified right now")) from None
        self._connections[sid] = connection
        if connection.is_care:
            join_room(CARE_ROOM, sid, NAMESPACE)

    def _disconnect(self, sid: str, *_reason: object) -> None:
        self._connections.pop(sid, None)

    def _receive(self, event: object, sid: str, *args: object) -> dict[str, Any]:
        """Every event of a client; the answer is its acknowledgement."""
        name = event if isinstance(event, str) and event in HANDLERS else "unknown"
        with self._counted(), self._app.app_context(), _framed(name):
            try:
                answer = {"ok": True} | self._handle(sid, name, args)
            except AppError as error:
                answer = _refusal(error)
            except SQLAlchemyError as error:
                answer = _refusal(from_database(error))
            except Exception:
                log.exception("event failed: %s", name)
                answer = _refusal(InternalError())
            EVENTS.labels(name, answer.get("code", "ok")).inc()
            return answer

    def _handle(self, sid: str, name: str, args: tuple[object, ...]) -> dict[str, Any]:
        self._hold_back(sid)
        connection = self._admit(sid)
        if name not in HANDLERS:
            raise UnknownEvent()
        if self._draining:
            raise ServiceUnavailable("This process is going down, connect again")
        if len(args) != 1:
            raise ValidationFailed("An event takes exactly one object")
        model, handle = HANDLERS[name]
        try:
            wish = model.model_validate(args[0])
        except ValidationError as error:
            raise from_validation(error) from None
        return handle(connection, wish)

    def _hold_back(self, sid: str) -> None:
        """Refuse what is too much, before it costs anything. Raises TooManyRequests."""
        connection = self._connections.get(sid)
        if connection is None:
            return
        if connection.bucket.take() and self._users.take(connection.identity.user_id):
            return
        connection.refused += 1
        if connection.refused == FLOOD_ENDS_CONNECTION:
            self.socketio.start_background_task(self._end, sid)
        time.sleep(PAUSE_OF_FLOODS_S)
        raise TooManyRequests("Too many events at once, wait a moment")

    def _admit(self, sid: str) -> Connection:
        """The connection, if its token still counts; else it is ended once this event has been acknowledged."""
        connection = self._connections.get(sid)
        try:
            if connection is None:
                raise InvalidToken("not connected")
            connection.identity = guard().admit(connection.token)
        except InvalidToken:
            self.socketio.start_background_task(self._end, sid, after=0.2)
            raise Unauthorized("The access token is not valid any more") from None
        except KeysUnavailable:
            raise ServiceUnavailable("Tokens cannot be verified right now") from None
        return connection

    def _end(self, sid: str, after: float = 0.0) -> None:
        if after:
            time.sleep(after)
        line = self.server.manager.eio_sid_from_sid(sid, NAMESPACE)
        self.server.disconnect(sid, namespace=NAMESPACE, ignore_queue=True)
        self._connections.pop(sid, None)  # also one that went away while it was being let in
        self.socketio.start_background_task(self._hang_up, line)

    def _hang_up(self, line: str) -> None:
        """A client that stays on the line after it was dismissed could go on sending."""
        time.sleep(HANG_UP_AFTER_S)
        if line in self.server.eio.sockets:
            self.server.eio.sockets[line].close(wait=False, abort=True)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1


@contextmanager
def _framed(name: str) -> Iterator[None]:
    """An event's own request id and trace, as a request has them."""
    token = context.request_id.set(ids.new_id())
    try:
        with tracing.span(f"socket {name}", tracing.SpanKind.SERVER):
            yield
    finally:
        context.request_id.reset(token)


def _refusal(error: AppError) -> dict[str, Any]:
    answer: dict[str, Any] = {"ok": False, "code": error.code, "detail": error.detail}
    return answer | ({"errors": list(error.errors)} if error.errors else {})


def _refused(error: AppError) -> ConnectionRefusedError:
    """What the client sees as `connect_error`: a message, and data with the code."""
    return ConnectionRefusedError(error.detail, {"code": error.code})


def _origins(settings: Settings) -> list[str] | None:
    """None: pages of the same origin only (clients that are no browsers send none)."""
    further = [origin.strip() for origin in settings.allowed_origins.split(",") if origin.strip()]
    return [settings.public_url.rstrip("/"), *further] if further else None


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
