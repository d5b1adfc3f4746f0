"""The real worker on a real broker: how fast a paid order is active, and that a killed worker activates once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

import pika
import pytest
from flask import Flask
from sqlalchemy import func, select

from common import ids
from common.db import reading
from common.messaging import Event, new_event
from provisioning.models import Command, CommandAttempt, OrderChange, Service, SimulatedAnswer
from tests.support.eventually import crowding, eventually
from tests.support.messaging.house import ON_SQLITE
from tests.support.provisioning import Shopper
from tests.support.services import emitted, service_fixtures

pytestmark = pytest.mark.broker
database_url, app, _ = service_fixtures("provisioning")

LEASE_S = 5


@pytest.fixture
def shopper(app: Flask) -> Shopper:
    app.test_cli_runner().invoke(args=["seed-catalogue"])
    return Shopper(app.test_client())


class Node:
    """The broker, and our events on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def publish(self, event: Event) -> None:
        body = new_event(event.type, subject=event.subject, data=event.data).body
        self._channel.basic_publish("payment.events", event.type, body.encode(), mandatory=True)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def node(broker_url: str) -> Iterator[Node]:
    found = Node(broker_url)
    yield found
    found.close()


@contextmanager
def worker(
    database_url: str, node: Node, folder: Path, **settings: object
) -> Iterator["subprocess.Popen[bytes]"]:
    """The worker as it is run, its log in the test's folder."""
    environment = os.environ | {
        "PROVISIONING_DATABASE_URL": database_url,
        "RABBITMQ_URL": node.url,
        "JWKS_URL": "http://127.0.0.1:9/",
        "SRICARE_ENV": "development",
        "PROVISIONING_ELEMENT_LEASE_S": str(LEASE_S),
        **{f"PROVISIONING_{name}".upper(): str(value) for name, value in settings.items()},
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "provisioning.worker"], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(10 * crowding()) == 0


def count(model: type) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def paid(shopper: Shopper) -> Event:
    """The payment of a new order of a data pack."""
    return shopper.payment(shopper.order("data-5gb").json)


def test_the_network_is_told_at_the_payment_and_not_by_polling(
    shopper: Shopper, database_url: str, node: Node, tmp_path: Path
) -> None:
    with worker(database_url, node, tmp_path):
        for number in range(1, 21):
            node.publish(paid(shopper))
            eventually(lambda n=number: len(shopper.services("active")) == n, within=20, every=0.005)
    with reading() as session:
        history = session.execute(select(OrderChange.order_id, OrderChange.reason, OrderChange.at)).all()
    at = {(order_id, reason): when for order_id, reason, when in history}
    orders = {order_id for order_id, _ in at}
    pauses = [at[order, "activation_started"] - at[order, "paid"] for order in orders]
    took = [at[order, "activated"] - at[order, "paid"] for order in orders]
    print(f"told after {_ms(median(pauses))}, active after {_ms(median(took))}, at worst {_ms(max(took))}")  # noqa: T201
    assert median(pauses) < timedelta(milliseconds=250) * crowding()  # alone; polling would take twice that
    assert len(emitted("service.activated")) == 20


def _ms(duration: timedelta) -> str:
    return f"{duration / timedelta(milliseconds=1):.0f} ms"


def test_a_worker_killed_in_the_middle_of_a_call_activates_once(
    shopper: Shopper, database_url: str, node: Node, tmp_path: Path
) -> None:
    with worker(database_url, node, tmp_path, simulated_latency_ms=3000) as process:
        payment = paid(shopper)
        node.publish(payment)
        eventually(lambda: count(CommandAttempt) == 1, within=20)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert shopper.services("active") == []
    with worker(database_url, node, tmp_path):
        node.publish(payment)
        eventually(lambda: len(shopper.services("active")) == 1, within=LEASE_S + 20)
    assert [count(model) for model in (Service, Command, SimulatedAnswer)] == [1, 1, 1]
    assert len(emitted("service.activated")) == 1
    assert count(CommandAttempt) == 2


@ON_SQLITE
def test_a_worker_that_is_told_to_stop_finishes_the_call_at_hand(
    shopper: Shopper, database_url: str, node: Node, tmp_path: Path
) -> None:
    with worker(database_url, node, tmp_path, simulated_latency_ms=1000):
        node.publish(paid(shopper))
        eventually(lambda: count(CommandAttempt) == 1, within=20)
    assert len(shopper.services("active")) == 1
    assert ids.is_id(emitted("service.activated")[0].data["service_id"])
