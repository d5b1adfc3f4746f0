"""The worker as a real process, with a real broker: messages reach the sinks once, also when it is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
import pytest
from flask import Flask
from sqlalchemy import select

from common import contracts, ids
from common.db import db, reading, upgrade
from common.messaging import new_event
from common.messaging.envelope import CONTENT_TYPE
from common.messaging.topology import declare
from notification.models import Delivery, Notification
from tests.support.eventually import eventually
from tests.support.notifications import sample, user_data
from tests.support.rabbitmq import PrivateRabbit
from tests.support.services import make_app

pytestmark = pytest.mark.broker
CUSTOMERS = 40


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    made = make_app("notification", f"sqlite:///{tmp_path / 'n.sqlite3'}", tmp_path)
    with made.app_context():
        upgrade()
        yield made
        db.engine.dispose()


@contextmanager
def worker(folder: Path, rabbitmq_url: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "NOTIFICATION_DATABASE_URL": f"sqlite:///{folder / 'n.sqlite3'}",
        "NOTIFICATION_EMAIL_SINK_DIR": str(folder / "mail"),
        "NOTIFICATION_SMS_SINK_DIR": str(folder / "sms"),
        "RABBITMQ_URL": rabbitmq_url,
        "JWKS_URL": "http://127.0.0.1:9/",
        "SRICARE_ENV": "development",
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "notification.worker"], env=environment, stdout=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(timeout=12) == 0


def publish(url: str, bodies: list[tuple[str, bytes]]) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    declare(connection)
    channel = connection.channel()
    channel.confirm_delivery()
    for event_type, body in bodies:
        exchange = contracts.exchange_of(contracts.producer_of(event_type))
        properties = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2)
        channel.basic_publish(exchange, event_type, body, properties, mandatory=True)
    connection.close()


def rows(kind: type[Notification] | type[Delivery]) -> list[Notification | Delivery]:
    with reading() as session:
        return list(session.scalars(select(kind)))


def all_sent() -> bool:
    sent = [row for row in rows(Delivery) if row.state.value == "sent"]  # type: ignore[union-attr]
    return len(sent) == 3 * CUSTOMERS and len(rows(Notification)) == 2 * CUSTOMERS


def test_a_killed_worker_delays_messages_and_neither_loses_nor_doubles_any(
    app: Flask, tmp_path: Path, rabbit: PrivateRabbit
) -> None:
    users = [ids.new_id() for _ in range(CUSTOMERS)]
    bodies = []
    for user_id in users:  # the bill overtakes the registration
        for event_type, data in (
            ("invoice.issued", sample("invoice.issued", user_id)),
            ("user.created", user_data(user_id)),
        ):
            bodies.append((event_type, new_event(event_type, subject=user_id, data=data).body.encode()))
    publish(rabbit.url, bodies)
    with worker(tmp_path, rabbit.url) as process:
        eventually(lambda: len(rows(Notification)) >= 10, within=30)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    publish(rabbit.url, bodies)  # and everything is delivered again
    with worker(tmp_path, rabbit.url):
        # One attempt may have died in the middle; it is repeated when its lease is over.
        eventually(all_sent, within=60, every=0.2)
    mails = {path.name for path in (tmp_path / "mail").glob("*.eml")}
    texts = [json.loads(path.read_bytes()) for path in (tmp_path / "sms").glob("*.json")]
    assert len(mails) == 2 * CUSTOMERS
    assert len(texts) == CUSTOMERS
    assert "Traceback" not in (tmp_path / "worker.log").read_text()
