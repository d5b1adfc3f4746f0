"""payment's real web processes: killed -9 at every step between intend and settle, and crowds with one key."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import orjson
import pytest
from flask import Flask
from sqlalchemy import select, update

from common import clock, ids
from common.db import reading, transaction
from common.db.tables import IdempotencyKey
from dev.ports import free_ports
from payment.gateway.simulated import SimulatedCharge
from payment.jobs import advance_payments
from payment.models import Payment
from tests.support.eventually import crowding, eventually
from tests.support.payment_web import ANSWER
from tests.support.payments import assert_books_hold, card, lkr, new_order
from tests.support.seams import SEAMS
from tests.support.services import bearer, emitted, service_fixtures, test_jwks

ME = ids.new_id()
database_url, app, client = service_fixtures("payment")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def address(app: Flask, database_url: str, tmp_path: Path) -> Iterator[str]:
    """Two processes that share nothing but the database; a killed one is replaced."""
    (port,) = free_ports(1)
    environment = os.environ | {
        "PAYMENT_DATABASE_URL": database_url,
        "PAYMENT_POOL_TIMEOUT_S": "30",
        "PAYMENT_LOCK_TIMEOUT_S": "30",
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        "JWKS_URL": "http://127.0.0.1:1/jwks.json",
        "TEST_JWKS": orjson.dumps(test_jwks()).decode(),
        "SRICARE_ENV": "development",
        "WEB_WORKERS": "2",
    }
    program = [
        sys.executable, "-m", "gunicorn", "-c", "python:common.web.gunicorn_conf", "--preload",
        "-b", f"127.0.0.1:{port}", "tests.support.payment_web:serve()",
    ]  # fmt: skip
    with (tmp_path / "web.log").open("wb") as log:
        server = subprocess.Popen(program, env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: listens(port), within=60)
        yield f"http://127.0.0.1:{port}/api/payment"
    finally:
        server.terminate()
        assert server.wait(30 * crowding()) == 0


def request(order_id: str, number: str = "4242424242424242") -> dict:
    return {
        "reference": {"type": "order", "id": order_id},
        "amount": lkr(120_000),
        "method": card(number),
    }


def send(address: str, body: dict, key: str, **more: str) -> httpx.Response:
    headers = bearer(ME, key=key) | more
    return httpx.post(f"{address}/process", json=body, headers=headers, timeout=60, trust_env=False)


def again(address: str, body: dict, key: str) -> httpx.Response:
    """Once there is a process again."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        try:
            answers.append(send(address, body, key))
        except httpx.TransportError:
            return False
        return True

    eventually(answered, within=60)
    return answers[-1]


def let_time_pass() -> None:
    """The lease of the dead request's key is over, and the janitor's time has come."""
    now = clock.now()
    with transaction() as session:
        session.execute(update(IdempotencyKey).values(locked_until=now))
        session.execute(update(Payment).where(Payment.check_at.is_not(None)).values(check_at=now))


def one(payment_id: str | None) -> list[str]:
    """What was told of a payment."""
    return [event.type for event in emitted() if event.data.get("payment_id") == payment_id]


NOTHING_YET = ("before the intent", "in the intent's transaction")


def test_a_process_killed_at_any_step_charges_once_and_tells_once(
    app: Flask, address: str, tmp_path: Path
) -> None:
    charged = []
    for seam in (*SEAMS, ANSWER):
        for rescue in ("repeat", "janitor"):
            body, key = request(new_order(ME)), ids.new_id()
            with pytest.raises(httpx.TransportError):
                send(address, body, key, **{"X-Die": seam})
            if seam not in (*NOTHING_YET, ANSWER):
                busy = again(address, body, key)
                assert (busy.status_code, busy.json()["code"]) == (409, "request_in_progress"), seam
            let_time_pass()
            if rescue == "janitor":
                advance_payments()
            answer = again(address, body, key)
            replay = again(address, body, key)
            assert replay.content == answer.content
            assert replay.headers["Idempotent-Replayed"] == "true"
            if rescue == "janitor" and seam == "before the charge":
                payment = answer.json()["payment"]
                assert (answer.status_code, payment["failure"]["reason"]) == (402, "abandoned")
                assert one(payment["id"]) == ["payment.failed"]
                continue
            assert (answer.status_code, answer.json()["state"]) == (201, "completed"), (seam, answer.text)
            charged.append(answer.json()["id"])
            assert one(charged[-1]) == ["payment.completed"], seam
    with reading() as session:
        captured = select(SimulatedCharge.key).where(SimulatedCharge.verdict == "captured")
        assert sorted(session.scalars(captured)) == sorted(charged)
    assert_books_hold()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"4242424242424242" not in file.read_bytes(), file.name


def test_fifty_requests_with_one_key_and_fifty_with_keys_of_their_own_charge_once(
    app: Flask, address: str
) -> None:
    body, key = request(new_order(ME)), ids.new_id()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: send(address, body, key), range(50)))
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert {a.json()["code"] for a in answers if a.status_code != 201} <= {"request_in_progress"}
    order_id = new_order(ME)
    cards = (request(order_id), request(order_id, "5555555555554444"))
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: send(address, cards[n % 2], ids.new_id()), range(50)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"already_paid"}
    with reading() as session:
        assert len(session.scalars(select(SimulatedCharge.key)).all()) == 2
    assert [event.type for event in emitted()] == ["payment.completed"] * 2
    assert_books_hold()
