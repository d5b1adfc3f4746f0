"""The real worker on a real broker, killed at every step between intend and settle: one charge, one event."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pika
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from common import clock, ids
from common.db import reading, transaction
from common.messaging import new_event
from payment.gateway.simulated import SimulatedCharge
from payment.models import Payment
from tests.support.eventually import crowding, eventually
from tests.support.payments import assert_books_hold, lkr, pay
from tests.support.seams import SEAMS
from tests.support.services import bearer, emitted, service_fixtures

pytestmark = pytest.mark.broker
database_url, app, client = service_fixtures("payment", reference_wait_s=0.0)


@contextmanager
def worker(module: list[str], url: str, broker: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = os.environ | {
        "PAYMENT_DATABASE_URL": url,
        "RABBITMQ_URL": broker,
        "JWKS_URL": "http://127.0.0.1:9/",
        "SRICARE_ENV": "development",
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *module], env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(12 * crowding()) == 0


def order_created(user_id: str, order_id: str) -> bytes:
    data = {
        "order_id": order_id, "number": "ORD-2026-000001", "user_id": user_id, "offering_id": ids.new_id(),
        "offering_code": "data-50gb", "offering_name": "50 GB", "total": lkr(120_000),
        "state": "pending_payment", "created_at": clock.rfc3339(clock.now()),
    }  # fmt: skip
    return new_event("order.created", subject=user_id, data=data).body.encode()


def state_of(client: FlaskClient, payment_id: str, user_id: str) -> str:
    return client.get(f"/api/payment/payments/{payment_id}", headers=bearer(user_id)).json["state"]


def test_a_worker_killed_at_any_step_charges_once_and_tells_once(
    app: Flask, client: FlaskClient, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    user_id = ids.new_id()
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    heard = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(heard, "payment.events", "payment.*")
    channel.confirm_delivery()
    paid = []
    seams = list(SEAMS)[2:] if database_url.startswith("sqlite") else ["after the charge"]
    for seam in seams:
        order_id = ids.new_id()
        payment_id = pay(client, user_id, order_id).json["id"]
        paid.append(payment_id)
        module = ["tests.support.payment_worker", seam]
        with worker(module, database_url, broker_url, tmp_path) as process:
            channel.basic_publish(
                "provisioning.events", "order.created", order_created(user_id, order_id), mandatory=True
            )
            assert process.wait(30 * crowding()) == -signal.SIGKILL, seam
        assert state_of(client, payment_id, user_id) == "processing", seam
        with transaction() as session:  # so that the next worker leaves it alone
            later = update(Payment).where(Payment.id == payment_id)
            session.execute(later.values(check_at=clock.now() + timedelta(days=999)))
    with transaction() as session:  # as if the janitor's time had come
        session.execute(update(Payment).values(check_at=clock.now()))
    with worker(["payment.worker"], database_url, broker_url, tmp_path):
        eventually(lambda: len(emitted("payment.completed")) == len(seams), within=30)
        eventually(lambda: channel.queue_declare(heard, passive=True).method.message_count == len(seams))
    connection.close()
    assert [state_of(client, payment_id, user_id) for payment_id in paid] == ["completed"] * len(seams)
    with reading() as session:
        assert sorted(session.scalars(select(SimulatedCharge.key))) == sorted(paid)
    assert sorted(event.data["payment_id"] for event in emitted("payment.completed")) == sorted(paid)
    assert_books_hold()
