"""How the chat process listens, serves and ends, in either async mode. Imported by `chat.server` after patching."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from chat.app import create_app
from chat.config import Settings
from chat.fanout import Fanout
from chat.sockets import Sockets
from common.settings import SettingsError

log = logging.getLogger(__name__)

BACKLOG = 1024
CONNECTIONS_AT_MOST = 10_000
SOCKET_TIMEOUT_S = 65.0
"""For clients that stop in the middle of a request; WebSockets are given their own by Engine.IO."""
KEEP_ALIVE_S = 75.0
FINISH_WITHIN_S = 3.0
STOP_WITHIN_S = 8.0


def serve() -> None:
    """Serve until told to stop. Exits 1 with one line when settings are wrong or the port is taken."""
    try:
        settings = Settings.from_env(os.environ)
        listener = _listen(settings)
    except (SettingsError, OSError) as error:
        sys.exit(f"chat: {error}")
    manager = Fanout(settings.rabbitmq_url)
    app = create_app(settings, async_mode=settings.async_mode, manager=manager)
    sockets: Sockets = app.extensions["chat_sockets"]
    manager.catch_up = sockets.catch_up_soon
    _start(sockets)
    log.info("listening on %s:%s (%s)", settings.host, settings.port, settings.async_mode)
    run = _run_eventlet if settings.async_mode == "eventlet" else _run_threads
    run(app, listener, lambda: _drain(sockets, manager))
    log.info("stopped")
    logging.shutdown()
    os._exit(0)  # green threads and daemons that wait for the broker have nothing left to do


def _listen(settings: Settings) -> socket.socket:
    """The only process on the port: with SO_REUSEPORT a poll could reach another than the one that knows it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by every connection: what is told and its acknowledgement are two small frames, and the second would
    # wait for the client's delayed ACK of the first (measured: 40 ms of a message's 50).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
    listener.listen(BACKLOG)
    return listener


def _start(sockets: Sockets) -> None:
    """Subscribe to other processes now: the server would wait for its first client and miss what came before."""
    sockets.server.manager_initialized = True
    sockets.server.manager.initialize()
    sockets.socketio.start_background_task(sockets.watch)
    sockets.socketio.start_background_task(sockets.presence.watch)


def _drain(sockets: Sockets, manager: Fanout) -> None:
    log.info("stopping")
    sockets.drain(FINISH_WITHIN_S)
    manager.flush(1.0)


def _run_eventlet(app: Flask, listener: socket.socket, drain: Callable[[], None]) -> None:
    import eventlet
    import eventlet.wsgi

    stop_requested = _signals()
    pool = eventlet.GreenPool(CONNECTIONS_AT_MOST)
    server = eventlet.spawn(
        eventlet.wsgi.server, listener, _with_whole_bodies(app), custom_pool=pool, debug=False, log_output=False,
        log=logging.getLogger("eventlet.wsgi"), keepalive=KEEP_ALIVE_S, socket_timeout=SOCKET_TIMEOUT_S,
    )  # fmt: skip
    stop_requested()
    drain()
    server.kill(SystemExit)  # its way of being told: accept no more, close what is idle, wait for the rest
    with eventlet.Timeout(STOP_WITHIN_S - FINISH_WITHIN_S - 1.0, False):
        server.wait()


def _with_whole_bodies(app: Flask) -> Callable[..., Iterable[bytes]]:
    """Eventlet's input ends with the body, also with one in chunks, but it does not say so: Werkzeug then takes those
    for empty."""

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input_terminated"] = True
        return app(environ, start_response)

    return wsgi


def _run_threads(app: Flask, listener: socket.socket, drain: Callable[[], None]) -> None:
    """The way out of eventlet: a thread per connection, good for some hundred of them."""
    from werkzeug.serving import make_server

    stop_requested = _signals()
    host, port = listener.getsockname()[:2]
    server = make_server(host, port, app, threaded=True, fd=listener.detach())
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stop_requested()
    server.shutdown()
    drain()
    time.sleep(0.1)  # for the last answers on their way


def _signals() -> Callable[[], None]:
    """Returns a function that waits for SIGTERM or SIGINT. A signal alone would not wake eventlet's loop: its byte in
    this socket does."""
    readable, writable = socket.socketpair()
    writable.setblocking(False)
    signal.set_wakeup_fd(writable.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        readable.recv(1)
        writable.fileno()  # keeps the pair alive until here

    return wait
