"""The worker of notification as a real process, and events for it on a real broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
from flask import Flask

from common import contracts
from common.messaging.envelope import CONTENT_TYPE
from common.messaging.topology import declare
from tests.support.eventually import crowding


@contextmanager
def worker(app: Flask, folder: Path, rabbitmq_url: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process on the application's database; its log in the folder. Ends cleanly unless it has ended already."""
    environment = os.environ | {
        "NOTIFICATION_DATABASE_URL": app.extensions["sricare_settings"].database_url,
        "NOTIFICATION_HTTP_TIMEOUT_S": "15",  # sinks on a crowded machine are slow
        "NOTIFICATION_SMTP_TIMEOUT_S": "15",
        **{f"NOTIFICATION_{name.upper()}": value for name, value in settings.items()},
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
            assert process.wait(timeout=12 * crowding()) == 0


def publish(url: str, bodies: list[tuple[str, bytes]]) -> None:
    """Events (type, body) as their producers would."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    declare(connection)
    channel = connection.channel()
    channel.confirm_delivery()
    for event_type, body in bodies:
        exchange = contracts.exchange_of(contracts.producer_of(event_type))
        properties = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2)
        channel.basic_publish(exchange, event_type, body, properties, mandatory=True)
    connection.close()


def sinks(folder: Path) -> dict[str, str]:
    """Settings that put e-mails and SMS into `mail` and `sms` in the folder."""
    return {"email_sink_dir": str(folder / "mail"), "sms_sink_dir": str(folder / "sms")}
