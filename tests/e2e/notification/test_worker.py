"""The worker as a real process, with a real broker: messages reach the sinks once, also when it is killed."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from common import ids
from common.db import db, reading, upgrade
from common.messaging import new_event
from notification.models import Delivery, Notification
from tests.support.eventually import eventually
from tests.support.notification_worker import publish, sinks, worker
from tests.support.notifications import sample, user_data
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


def rows(kind: type[Notification] | type[Delivery]) -> list[Notification | Delivery]:
    with reading() as session:
        return list(session.scalars(select(kind)))


def all_sent() -> bool:
    sent = [row for row in rows(Delivery) if row.state.value == "sent"]  # type: ignore[union-attr]
    return len(sent) == 3 * CUSTOMERS and len(rows(Notification)) == 2 * CUSTOMERS


def test_a_killed_worker_delays_messages_and_neither_loses_nor_doubles_any(
    app: Flask, tmp_path: Path, broker_url: str
) -> None:
    users = [ids.new_id() for _ in range(CUSTOMERS)]
    bodies = []
    for user_id in users:  # the bill overtakes the registration
        for event_type, data in (
            ("invoice.issued", sample("invoice.issued", user_id)),
            ("user.created", user_data(user_id)),
        ):
            bodies.append((event_type, new_event(event_type, subject=user_id, data=data).body.encode()))
    publish(broker_url, bodies)
    with worker(app, tmp_path, broker_url, **sinks(tmp_path)) as process:
        eventually(lambda: len(rows(Notification)) >= 10, within=30)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    publish(broker_url, bodies)  # and everything is delivered again
    with worker(app, tmp_path, broker_url, **sinks(tmp_path)):
        # One attempt may have died in the middle; it is repeated when its lease is over.
        eventually(all_sent, within=60, every=0.2)
    mails = {path.name for path in (tmp_path / "mail").glob("*.eml")}
    texts = [json.loads(path.read_bytes()) for path in (tmp_path / "sms").glob("*.json")]
    assert len(mails) == 2 * CUSTOMERS
    assert len(texts) == CUSTOMERS
    assert "Traceback" not in (tmp_path / "worker.log").read_text()
