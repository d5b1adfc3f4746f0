"""The authenticated list of 20 invoices against a bare route on the same server, under gunicorn as configured for use.

The billing service is served as in production (its own `create_app`, SQLite, a real RS256 token whose verification is
cached after the first request), with one route more, which returns a dict: public, no database, but request id,
security headers, metrics and access log as every route has them. What those cost is shown by a third target, a `Flask`
of nothing but that route on a server of its own. Rounds alternate, and a
round's figure is what two processes of four threads answer to eight kept-alive connections. The client, a raw socket
per connection, shares the machine's cores and so flatters the slower side: the ratio of the servers' own CPU time
per request, which it cannot touch, is shown beside.

`python -m tests.bench.invoices` prints where the time of one list goes, in process and by part. On a busy day of
2026-11: 377 µs against 49 of the bare route: frame 55 (access log 20), routing and Flask 57, token and query string 14,
connection and BEGIN 18, SQLite itself 47, SQLAlchemy's execution 65, documents and JSON 23, the rest spread thin. Under
gunicorn both cost about 200 µs more, and ours again as much for caches gone cold between requests.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import psutil
from flask import Flask
from sqlalchemy import insert

from billing.app import create_app
from billing.config import Settings
from billing.models import Account, AccountKind, AccountStatus, Invoice, InvoiceState
from billing.queries import list_invoices
from common import clock, ids
from common.db import PageQuery, db, snapshot, transaction, upgrade
from common.db.pages import encode_cursor
from common.identity.requests import guard
from dev.environment import ROOT
from dev.ports import LOOPBACK, free_ports
from tests.bench.figures import Figure
from tests.support.eventually import eventually
from tests.support.services import test_jwks, token

ROUNDS = 5
ROUND_S = 1.5
CONNECTIONS = 8
INVOICES = 20_000
PATH = "/api/billing/invoices"


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, published_keys() as jwks_url:
        env = environment(Path(folder), jwks_url)
        user_id, deep = prepare(Settings.from_env(env))
        headers = {"Authorization": f"Bearer {token(user_id)}"}
        with (
            served("tests.bench.invoices:plain()", env) as flask,
            served("tests.bench.invoices:billing()", env) as ours,
        ):
            targets = {
                "plain": Target(*flask, request("/bare", {})),
                "bare": Target(*ours, request("/bare", {})),
                "list": Target(*ours, request(PATH, headers)),
                "deep": Target(*ours, request(f"{PATH}?cursor={deep}", headers)),
            }
            for target in targets.values():
                target.round(0.5)
            rounds = [
                {name: target.round(ROUND_S) for name, target in targets.items()} for _ in range(ROUNDS)
            ]

    def ratio(part: int, one: str, other: str) -> float:
        return statistics.median(results[one][part] / results[other][part] for results in rounds)

    def middle(name: str, part: int) -> float:
        return statistics.median(results[name][part] for results in rounds)

    return [
        Figure("bare route", middle("bare", 0), "req/s"),
        Figure("list of 20 invoices, authenticated (SQLite)", middle("list", 0), "req/s"),
        Figure("list of 20 against the bare route", ratio(0, "list", "bare"), "ratio", (">=", 0.45)),
        Figure("list of 20 against a Flask of nothing else", ratio(0, "list", "plain"), "ratio"),
        Figure("  server CPU per request: nothing but Flask", middle("plain", 1) * 1e6, "µs"),
        Figure("  server CPU per request: bare", middle("bare", 1) * 1e6, "µs"),
        Figure("  server CPU per request: list", middle("list", 1) * 1e6, "µs"),
        Figure(f"page {INVOICES:,} deep, CPU against the first", ratio(1, "deep", "list"), "ratio", ("<=", 1.2)),
    ]  # fmt: skip


def plain() -> Flask:
    """Flask and the bare route, nothing else."""
    return with_bare_route(Flask(__name__))


def billing() -> Flask:
    """The service, and the route that its list is measured against."""
    return with_bare_route(create_app())


def with_bare_route(app: Flask) -> Flask:
    @app.get("/bare")
    def hello() -> dict[str, str]:
        return {"hello": "world"}

    return app


def environment(folder: Path, jwks_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "BILLING_DATABASE_URL": f"sqlite:///{folder / 'billing.sqlite3'}",
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        "JWKS_URL": jwks_url,
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
    }


def prepare(settings: Settings) -> tuple[str, str]:
    """A migrated database with one customer's invoices: the user's id and the cursor of the last page."""
    app, user_id, account_id = create_app(settings), ids.new_id(), ids.new_id()
    invoice_ids = [ids.new_id() for _ in range(INVOICES)]
    with app.app_context():
        upgrade()
        with transaction() as session:
            session.execute(insert(Account).values(an_account(account_id, user_id)))
            rows = [
                an_invoice(n, invoice_id, account_id, user_id) for n, invoice_id in enumerate(invoice_ids)
            ]
            session.execute(insert(Invoice), rows)
        db.engine.dispose()
    return user_id, encode_cursor(invoice_ids[20])


def an_account(account_id: str, user_id: str) -> dict[str, Any]:
    return {
        "id": account_id, "user_id": user_id, "number": "STL-0000000001", "kind": AccountKind.POSTPAID,
        "status": AccountStatus.ACTIVE, "currency": "LKR", "receivable_minor": 0, "credit_minor": 0,
        "name": "Nimali Perera", "phone": "+94771234567", "language": "en", "profile_as_of": clock.now(),
        "created_at": clock.now(),
    }  # fmt: skip


def an_invoice(n: int, invoice_id: str, account_id: str, user_id: str) -> dict[str, Any]:
    line = {
        "description": "Fibre 100 monthly rental",
        "quantity": 1,
        "unit_price": rupees(349_000),
        "amount": rupees(349_000),
    }
    tax = {"code": "VAT", "name": "Value added tax", "rate_percent": "18", "amount": rupees(62_820)}
    now = clock.now()
    return {
        "id": invoice_id, "number": f"INV-2026-{n + 1:06d}", "account_id": account_id,
        "account_number": "STL-0000000001", "user_id": user_id, "state": InvoiceState.PAID, "period": "2026-11",
        "currency": "LKR", "lines": orjson.dumps([line]).decode(), "tax_lines": orjson.dumps([tax]).decode(),
        "subtotal_minor": 349_000, "total_minor": 411_820, "paid_minor": 411_820, "credit_used_minor": 0,
        "due_on": clock.today() + timedelta(days=14), "issued_on": clock.today(), "issued_at": now, "paid_at": now,
        "created_at": now, "updated_at": now,
    }  # fmt: skip


def rupees(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "LKR"}


@contextmanager
def published_keys() -> Iterator[str]:
    """The address of the tests' signing keys, as auth would publish them."""
    document = orjson.dumps(test_jwks())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: object) -> None:
            """Nothing to tell."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(application: str, env: dict[str, str]) -> Iterator[tuple[int, psutil.Process]]:
    """Port and master process of an application under gunicorn, as the platform serves its services."""
    (port,) = free_ports(1)
    options = ("--config", "python:common.web.gunicorn_conf", "--bind", f"{LOOPBACK}:{port}")
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, application],
        cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(lambda: listens(port), within=30)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(15)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def request(path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: bench", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


class Target:
    """One request to one server."""

    def __init__(self, port: int, master: psutil.Process, message: bytes) -> None:
        self._port, self._master, self._message = port, master, message

    def round(self, seconds: float) -> tuple[float, float]:
        """Requests per second, and the server's CPU seconds per request."""
        counts = [0] * CONNECTIONS
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._load, args=(until, counts, index)) for index in range(CONNECTIONS)
        ]
        cpu, began = self._cpu(), time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, total = time.monotonic() - began, sum(counts)
        return total / took, (self._cpu() - cpu) / total

    def _cpu(self) -> float:
        return sum(sum(worker.cpu_times()[:2]) for worker in self._master.children())

    def _load(self, until: float, counts: list[int], index: int) -> None:
        with socket.create_connection((LOOPBACK, self._port), timeout=10) as connection:
            while time.monotonic() < until:
                connection.sendall(self._message)
                receive(connection)
                counts[index] += 1


def receive(connection: socket.socket) -> bytes:
    """The body of one answer, which must be a 200."""
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def breakdown() -> None:
    """Print where the time of one list goes."""
    with tempfile.TemporaryDirectory() as folder, published_keys() as jwks_url:
        settings = Settings.from_env(environment(Path(folder), jwks_url) | {"LOG_LEVEL": "ERROR"})
        user_id, _ = prepare(settings)
        app, bare, bearer = create_app(settings), plain().test_client(), token(user_id)
        client, headers = app.test_client(), {"Authorization": f"Bearer {bearer}"}
        with app.app_context():
            with snapshot() as connection:
                page = list_invoices(connection, user_id, PageQuery())
            parts: dict[str, Callable[[], object]] = {
                "bare route, test client included": lambda: bare.get("/bare"),
                "list, test client included": lambda: client.get(PATH, headers=headers),
                "  token seen before, revocations": lambda: guard().admit(bearer),
                "  query and documents": lambda: read_once(user_id),
                "  JSON": lambda: orjson.dumps({"items": page.items}, option=orjson.OPT_UTC_Z),
            }
            for name, part in parts.items():
                print(f"  {name:<40} {microseconds(part):>8.1f} µs")


def read_once(user_id: str) -> None:
    with snapshot() as connection:
        list_invoices(connection, user_id, PageQuery())


def microseconds(part: Callable[[], object], times: int = 500) -> float:
    for _ in range(20):
        part()
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        part()
        samples.append(time.perf_counter() - began)
    return statistics.median(samples) * 1e6


if __name__ == "__main__":
    breakdown()
