"""`POST /process` against a bare insert transaction, on the same server and database.

One gunicorn as in production (2 workers, 4 threads) serves payment's application, to which a bare route is added: no
token, no body, one transaction that inserts one row. Eight keep-alive connections send requests that were built
beforehand; every payment is a valid one of an order of its own, by one of 20 customers, with its own key. Only answers
201 `completed` count. Rounds of the three kinds alternate, and the ratio is the median over the rounds.

Postgres runs as in production: what it has committed is on the disk (`fsync`). The card gateway answers at once and
keeps its charges to itself, as one outside does: the simulated one, which `make up` has, writes to payment's database
and would cost a transaction more there.

Where the aim is missed, this is why. The bare route is one statement. A payment by wallet is six on SQLite and three
on Postgres, in one transaction; by card there are two transactions, since a gateway is never called inside one. Each
statement keeps a promise: once per key, once per order, never below zero, in the ledger, told. Processor time of a
request in its process, without gunicorn, on SQLite / Postgres (quiet machine, 2026-11): bare 0.72 / 1.18 ms, by wallet
1.77 / 2.37, by card 2.34 / 3.03.

On Postgres each statement is a round trip: 4 for the bare route (the pool's ping, BEGIN, INSERT, COMMIT), 6 by wallet
(ping, BEGIN, payable, balance, all that is written last, COMMIT), 11 by card; docs/adr/0024 says what was done (0.41 by
wallet and 0.29 by card before). SQLite has one writer at a time, and there a third of the two cores is idle: what
counts is how long a transaction holds that turn, 0.9 ms for the bare insert and 2.4 ms by wallet, of which 1.7 are
processor time (Python around the statements, models, events, the sealed answer). Handing the turn over faster (a queue
in each process, shorter sleeps) or switching threads more often changed the bare route's rate, not the ratio.

Measured and left: no ping for a connection just used (helps the bare route more). Not taken: pipeline mode, whose
errors come after the statement that made them and past SQLAlchemy, where who lost the race for a key could not be told
from who was wrong.
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
PER_ROUND = 320
ROUNDS = 25
CUSTOMERS = 20
AMOUNT = 1000
AIM = (">=", 0.6)
KINDS = ("bare", "wallet", "card")


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

    @app.post("/bare")
    def bare() -> Response:
        with transaction() as session:
            session.execute(
                insert(Inbox).values(consumer="bench", event_id=ids.new_id(), handled_at=clock.now())
            )
        return Response(b'{"state":"completed"}', 201, content_type="application/json")

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
        rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for kind in KINDS:
            _drive(port, itertools.islice(requests[kind], PER_ROUND // 4))
        for _ in range(ROUNDS):
            for kind in KINDS:
                rates[kind].append(_drive(port, itertools.islice(requests[kind], PER_ROUND)))
    figures = [Figure(f"{name}: bare insert transaction", statistics.median(rates["bare"]), "req/s")]
    for kind in KINDS[1:]:
        ratios = [rate / bare for rate, bare in zip(rates[kind], rates["bare"], strict=True)]
        figures += [
            Figure(f"{name}: payment by {kind}", statistics.median(rates[kind]), "req/s"),
            Figure(f"{name}: payment by {kind} / bare insert", statistics.median(ratios), "", AIM),
        ]
    return figures


def _prepare(app: Flask) -> dict[str, Iterator[bytes]]:
    """Customers with full wallets, an order for each payment, and the requests ready to send."""
    count = PER_ROUND * ROUNDS + PER_ROUND // 4
    customers = [ids.new_id() for _ in range(CUSTOMERS)]
    headers = {user_id: services.bearer(user_id)["Authorization"] for user_id in customers}
    orders = {kind: [(ids.new_id(), customers[n % CUSTOMERS]) for n in range(count)] for kind in KINDS[1:]}
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
        for kind, method in (("wallet", WALLET), ("card", card()))
    }
    built["bare"] = itertools.repeat(b"POST /bare HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n")
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
