"""The local gateway does what clients of Kong rely on: routing, ids, streams, stickiness and honest refusals."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from common.web.frame import SECURITY_HEADERS
from dev.gateway import caddy_command, caddy_environment, write_caddy_configuration
from dev.ports import LOOPBACK, free_ports
from tests.support.eventually import eventually


class Echo(BaseHTTPRequestHandler):
    """Answers with its port and the request id it was given; /stream sends an event and stays until it was `heard`."""

    heard = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path.endswith("/stream"):
            self.wfile.write(b"data: first\n\n")
            self.wfile.flush()
            self.heard.wait(60)
        else:
            self.wfile.write(f"{self.server.server_port} {self.headers['X-Request-ID']}".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, dict[str, list[int]]]]:
    """A client of a real Caddy before live stand-ins for all services but payment, which is down."""
    folder = tmp_path_factory.mktemp("gateway")
    port, nobody = free_ports(2)
    names = ("auth", "billing", "provisioning", "notification", "chat", "chat")
    servers = [ThreadingHTTPServer((LOOPBACK, 0), Echo) for _ in names]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    upstreams: dict[str, list[int]] = {"payment": [nobody]}
    for name, server in zip(names, servers, strict=True):
        upstreams.setdefault(name, []).append(server.server_port)
    write_caddy_configuration(folder / "caddy.json", port, upstreams)
    with (folder / "log").open("wb") as log:
        caddy = subprocess.Popen(
            caddy_command(folder / "caddy.json"), env=caddy_environment(folder), stdout=log, stderr=log
        )
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=30) as client:
        eventually(lambda: _serves(client), within=30)
        yield client, upstreams
    caddy.terminate()
    caddy.wait(timeout=60)
    for server in servers:
        server.shutdown()
        server.server_close()


def _serves(client: httpx.Client) -> bool:
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True


Gateway = tuple[httpx.Client, dict[str, list[int]]]


def test_a_request_reaches_its_service_with_its_own_id(gateway: Gateway) -> None:
    client, upstreams = gateway
    answer = client.get("/api/billing/account", headers={"X-Request-ID": "my-id.1"})
    assert answer.text == f"{upstreams['billing'][0]} my-id.1"
    made = client.get("/api/billing/account").text.split()[1]
    assert len(made) == 36


@pytest.mark.parametrize(
    "path", ["/", "/ready", "/health", "/metrics", "/api/auth/../../ready", "/api/nothing/x"]
)
def test_what_is_not_in_the_table_is_a_problem_404(gateway: Gateway, path: str) -> None:
    client, _ = gateway
    answer = client.get(path, headers={"X-Request-ID": 'a"b'})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (404, "not_found")
    assert {name: answer.headers.get(name) for name, _ in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
    assert problem["request_id"] == answer.headers["x-request-id"] != 'a"b'


def test_a_service_that_is_down_is_a_problem_503_to_try_again(gateway: Gateway) -> None:
    client, _ = gateway
    answer = client.post("/api/payment/process", json={})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["code"] == "service_unavailable"


def test_an_event_stream_is_passed_on_as_it_is_written(gateway: Gateway) -> None:
    client, _ = gateway
    with client.stream("GET", "/api/notifications/stream") as answer:
        assert next(answer.iter_text()) == "data: first\n\n"
        Echo.heard.set()


def test_a_chat_client_stays_on_its_process(gateway: Gateway) -> None:
    client, upstreams = gateway
    first = client.get("/api/chat/socket.io/")
    processes = {client.get("/api/chat/socket.io/").text.split()[0] for _ in range(10)}
    assert processes == {first.text.split()[0]}
    alone = {httpx.get(first.url, cookies={}).text.split()[0] for _ in range(40)}
    assert alone == {str(port) for port in upstreams["chat"]}
