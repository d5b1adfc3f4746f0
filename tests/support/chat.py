"""Real chat processes and real Socket.IO clients for tests."""

import http.server
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import httpx
import orjson
import requests
import socketio

from common import ids
from dev.ports import LOOPBACK, free_ports
from tests.support.eventually import eventually
from tests.support.services import test_jwks, token

NAMESPACE = "/chat"
PATH = "/api/chat/socket.io"


@contextmanager
def jwks_server() -> Iterator[str]:
    """The URL of a JWKS with the tests' key, as auth would serve it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = orjson.dumps(test_jwks())
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}/jwks.json"
        server.shutdown()
        thread.join()


class ChatServer:
    """`python -m chat.server` on a port of its own; `start` again after `kill` continues on the same port."""

    def __init__(
        self,
        database_url: str,
        jwks_url: str,
        broker_url: str,
        variables: Mapping[str, str],
        *,
        module: str = "chat.server",
    ) -> None:
        self._module = module
        self.port = free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._environment = {
            **os.environ,
            "CHAT_DATABASE_URL": database_url,
            "CHAT_PORT": str(self.port),
            "JWKS_URL": jwks_url,
            "RABBITMQ_URL": broker_url,
            "SRICARE_ENV": "development",
            "CHAT_BOT": "off",
            **variables,
        }
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and return when it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        eventually(self._ready, within=30, every=0.05)
        return self

    def kill(self) -> None:
        """End it as a power cut would; safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self.http.close()
        self._log.close()

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, within: float) -> int:
        """Its exit status; subprocess.TimeoutExpired when it has not ended by then."""
        assert self._process is not None
        status = self._process.wait(within)
        self._process = None
        return status

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def open_conversation(self, user_id: str, access_token: str | None = None) -> str:
        headers = {"Authorization": f"Bearer {access_token or token(user_id)}"}
        answer = self.http.post("/api/chat/conversations", json={}, headers=headers)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return self.http.get("/ready", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


class Device:
    """A user's Socket.IO client, connected; keeps what it hears."""

    def __init__(
        self, server: ChatServer, user_id: str, *roles: str, transport: str = "websocket", **options: Any
    ) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._http = requests.Session()
        self._client = socketio.Client(reconnection=False, handle_sigint=False, http_session=self._http)
        self._client.on("*", lambda event, data: self.heard.append((event, data)), namespace=NAMESPACE)
        try:
            self._client.connect(
                server.url,
                transports=[transport],
                namespaces=[NAMESPACE],
                socketio_path=PATH,
                auth=options.get("auth", {"token": options.get("access_token") or token(user_id, *roles)}),
                wait_timeout=30,
            )
        except socketio.exceptions.ConnectionError:
            self.close()
            raise

    @property
    def connected(self) -> bool:
        return bool(self._client.connected)

    def call(self, event: str, payload: Any, timeout: float = 30) -> dict[str, Any]:
        """Emit and wait for the acknowledgement."""
        answer: dict[str, Any] = self._client.call(event, payload, namespace=NAMESPACE, timeout=timeout)
        return answer

    def join(self, conversation_id: str, after_seq: int = 0) -> dict[str, Any]:
        answer = self.call("conversation:join", {"conversation_id": conversation_id, "after_seq": after_seq})
        assert answer["ok"], answer
        return answer

    def say(self, conversation_id: str, body: str, client_message_id: str | None = None) -> dict[str, Any]:
        wish = {
            "conversation_id": conversation_id,
            "client_message_id": client_message_id or ids.new_id(),
            "body": body,
        }
        return self.call("message:send", wish)

    def messages(self) -> list[dict[str, Any]]:
        """The messages told so far."""
        return [data for event, data in self.heard if event == "message:new"]

    def close(self) -> None:
        """Disconnect, and close what the client leaves open when the server has gone first."""
        self._client.disconnect()
        if self._client.eio.ws is not None:
            self._client.eio.ws.shutdown()
        self._http.close()
