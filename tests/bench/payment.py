"""`POST /process` against bare insert transactions, on the same server and database.

One gunicorn as in production (2 workers, 4 threads) serves payment's application, to which bare routes are added: no
token, no body, one transaction that inserts one row, or two of them one after the other. Eight keep-alive connections
send requests that were built beforehand; every payment is a valid one of an order of its own, by one of 20 customers,
with its own key. Only answers 201 `completed` count.

A payment by wallet is one transaction and is compared with one; by card it is two, since a gateway is never called
inside one (intend, call, settle), and is compared with two: so a ratio says what all that a payment keeps costs beside
what its database does anyway. Against one it is shown too.

Short rounds of all kinds alternate, each with connections of its own, which the kernel deals out to the two workers by
chance (4 and 4, or 7 and 1); a ratio is the median over the rounds.

Postgres runs as in production: what it has committed is on the disk (`fsync`). The card gateway answers at once and
keeps its charges to itself, as one outside does: the simulated one, which `make up` has, writes to payment's database
and would cost a transaction more there.

What a payment is made of, and what was done about it, is in docs/adr/0024.
"""

import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Response
from sqlalchemy import insert

from common import clock, ids
from common.db import db, transaction, upgrade
from common.db.tables import Inbox
from common.identity import init_identity
from common.money import Money
from dev.ports import free_ports
from payment.app import create_app
from payment.cards import Card
from payment.gateway import Outcome, Verdict
from payment.gateway.breaker import Breaker
from payment.gateway.routing import Gateways
from payment.gateway.simulated import SimulatedGateway
from payment.models import Payable, PayableState, ReferenceType, Wallet
from tests.bench.figures import Figure
from tests.support import services
from tests.support.payments import WALLET, card, lkr
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 8
PER_ROUND, ROUNDS, WARM_UP = 320, 25, 200
CUSTOMERS = 20
AMOUNT = 1000
AIM = (">=", 0.6)
BARE = {"once": "/bare", "twice": "/bare/twice"}
PAID_BY = {"wallet": WALLET, "card": card()}


class OutsideGateway(SimulatedGateway):
    """Knows each charge by its key as every gateway does, but not in payment's database: a real one is elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._charges: dict[str, Outcome] = {}

    def charge(self, *, key: str, amount: Money, source: Card | str) -> Outcome:
        return self._charges.setdefault(key, Outcome(Verdict.CAPTURED))


def serve() -> Flask:
    """What gunicorn runs: payment with the bare route, tokens as the bench signs them."""
    app = create_app()
    app.extensions["payment_gateways"] = Gateways([OutsideGateway()], Breaker())
    init_identity(app, lambda: orjson.loads(os.environ["BENCH_JWKS"]))

    def bare(transactions: int) -> Response:
        for _ in range(transactions):
            with transaction() as session:
                session.execute(
                    insert(Inbox).values(consumer="bench", event_id=ids.new_id(), handled_at=clock.now())
                )
        return Response(b'{"state":"completed"}', 201, content_type="application/json")

    app.post(BARE["once"], endpoint="once")(lambda: bare(1))
    app.post(BARE["twice"], endpoint="twice")(lambda: bare(2))
    return app


def run() -> list[Figure]:
    figures = []
    with (
        tempfile.TemporaryDirectory(prefix="sri-care-bench-") as folder,
        PostgresServer(durable=True) as postgres,
    ):
        for name, url in (
            ("SQLite", f"sqlite:///{folder}/payment.sqlite3"),
            ("Postgres", postgres.create_database()),
        ):
            figures += measure(name, url, Path(folder))
    return figures


def measure(name: str, url: str, folder: Path) -> list[Figure]:
    """Requests per second of each kind on one database, and the ratios."""
    app = services.make_app("payment", url, folder)
    with app.app_context():
        upgrade()
        requests = _prepare(app)
        db.engine.dispose()
    with _gunicorn(url) as port:
        rates: dict[str, list[float]] = {kind: [] for kind in requests}
        for kind in requests:
            _drive(port, itertools.islice(requests[kind], WARM_UP))
        for _ in range(ROUNDS):
            for kind in requests:
                rates[kind].append(_drive(port, itertools.islice(requests[kind], PER_ROUND)))

    def against(kind: str, bare: str) -> float:
        return statistics.median(a / b for a, b in zip(rates[kind], rates[bare], strict=True))

    def rate(kind: str) -> float:
        return statistics.median(rates[kind])

    return [
        Figure(f"{name}: a bare insert transaction", rate("once"), "req/s"),
        Figure(f"{name}: two of them in one request", rate("twice"), "req/s"),
        Figure(f"{name}: payment by wallet", rate("wallet"), "req/s"),
        Figure(f"{name}: payment by wallet / bare insert", against("wallet", "once"), "", AIM),
        Figure(f"{name}: payment by card", rate("card"), "req/s"),
        Figure(f"{name}: payment by card / two bare inserts", against("card", "twice"), "", AIM),
        Figure(f"{name}: payment by card / one bare insert", against("card", "once"), ""),
    ]


def _prepare(app: Flask) -> dict[str, Iterator[bytes]]:
    """Customers with full wallets, an order for each payment, and the requests ready to send."""
    count = PER_ROUND * ROUNDS + WARM_UP
    customers = [ids.new_id() for _ in range(CUSTOMERS)]
    headers = {user_id: services.bearer(user_id)["Authorization"] for user_id in customers}
    orders = {kind: [(ids.new_id(), customers[n % CUSTOMERS]) for n in range(count)] for kind in PAID_BY}
    with transaction() as session:
        session.add_all(
            Wallet(user_id=user_id, currency="LKR", balance_minor=10**12) for user_id in customers
        )
        session.execute(
            insert(Payable),
            [
                {
                    "id": order_id,
                    "type": ReferenceType.ORDER,
                    "owner_id": user_id,
                    "amount_minor": AMOUNT,
                    "currency": "LKR",
                    "state": PayableState.OPEN,
                    "created_at": clock.now(),
                }
                for kind in orders
                for order_id, user_id in orders[kind]
            ],
        )
    built: dict[str, Iterator[bytes]] = {
        kind: iter([_request(order_id, headers[user_id], method) for order_id, user_id in orders[kind]])
        for kind, method in PAID_BY.items()
    }
    for kind, path in BARE.items():
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
        built[kind] = itertools.repeat(head.encode())
    return built


def _request(order_id: str, authorization: str, method: dict[str, Any]) -> bytes:
    body = orjson.dumps(
        {"reference": {"type": "order", "id": order_id}, "amount": lkr(AMOUNT), "method": method}
    )
    head = (
        "POST /api/payment/process HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Authorization: {authorization}\r\nIdempotency-Key: {ids.new_id()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _drive(port: int, requests: Iterator[bytes]) -> float:
    """Send all over the connections; answered requests per second. Raises unless each gets 201 `completed`."""
    todo = list(requests)
    shares = [todo[number::CONNECTIONS] for number in range(CONNECTIONS)]

    def send(share: list[bytes]) -> int:
        answered = 0
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request in share:
                connection.sendall(request)
                answer = _answer(connection)
                if not answer.startswith(b"HTTP/1.1 201") or b'"state":"completed"' not in answer:
                    raise AssertionError(answer.decode())
                answered += 1
        return answered

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        began = time.perf_counter()
        answered = sum(pool.map(send, shares))
        seconds = time.perf_counter() - began
    if answered != len(todo):
        raise AssertionError(f"{answered} of {len(todo)} requests were answered")
    return answered / seconds


def _answer(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    marker = b"content-length: "
    start = head.lower().index(marker) + len(marker)
    length = int(head[start:].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += _receive(connection)
    return head + b"\r\n\r\n" + body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


@contextmanager
def _gunicorn(url: str) -> Iterator[int]:
    (port,) = free_ports(1)
    environment = os.environ | {
        "PAYMENT_DATABASE_URL": url,
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        "JWKS_URL": "http://127.0.0.1:1/jwks.json",
        "BENCH_JWKS": orjson.dumps(services.test_jwks()).decode(),
        "PYTHONPATH": str(ROOT),
    }
    server = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("gunicorn")),
            *("-c", "python:common.web.gunicorn_conf", "-b", f"127.0.0.1:{port}"),
            "tests.bench.payment:serve()",
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(15)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    for figure in run():
        print(figure)
