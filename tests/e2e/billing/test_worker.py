"""The real worker on a real broker: payments count once, also when they come twice and the worker is killed."""

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
from flask.testing import FlaskClient

from common import clock, ids
from common.messaging import new_event
from tests.support.billing import ADMIN, account_of, bill, rupees
from tests.support.eventually import crowding, eventually
from tests.support.services import bearer, emitted, service_fixtures

pytestmark = pytest.mark.broker
database_url, app, client = service_fixtures("billing")

INVOICES = 40


@contextmanager
def worker(database_url: str, rabbitmq_url: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = os.environ | {
        "BILLING_DATABASE_URL": database_url,
        "RABBITMQ_URL": rabbitmq_url,
        "JWKS_URL": "http://127.0.0.1:9/",
        "SRICARE_ENV": "development",
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "billing.worker"], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(12 * crowding()) == 0


def user_created(user_id: str) -> tuple[str, str, bytes]:
    data = {
        "user_id": user_id, "phone": "+94771234567", "email": None, "name": "Nimali", "language": "en",
        "roles": ["customer"], "created_at": clock.rfc3339(clock.now()),
    }  # fmt: skip
    return "auth.events", "user.created", new_event("user.created", subject=user_id, data=data).body.encode()


def payment_completed(user_id: str, invoice_id: str, amount: int) -> tuple[str, str, bytes]:
    data = {
        "payment_id": ids.new_id(), "user_id": user_id, "reference": {"type": "invoice", "id": invoice_id},
        "amount": rupees(amount), "method": {"type": "card", "brand": "visa", "last4": "4242"},
        "completed_at": clock.rfc3339(clock.now()),
    }  # fmt: skip
    event = new_event("payment.completed", subject=user_id, data=data)
    return "payment.events", "payment.completed", event.body.encode()


def test_bills_are_paid_once_each_although_events_come_twice_and_the_worker_is_killed(
    app: Flask, client: FlaskClient, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    user_id, path = ids.new_id(), "/api/billing/account"
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    channel.confirm_delivery()
    with worker(database_url, broker_url, tmp_path) as process:
        channel.basic_publish(*user_created(user_id), mandatory=True)
        eventually(lambda: client.get(path, headers=bearer(user_id)).status_code == 200, within=30)
        invoices = [bill(client, user_id, 1_000) for _ in range(INVOICES)]
        for invoice in invoices:
            message = payment_completed(user_id, invoice["id"], 1_000)
            channel.basic_publish(*message, mandatory=True)
            channel.basic_publish(*message, mandatory=True)
        eventually(lambda: emitted("invoice.paid"), within=30, every=0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with worker(database_url, broker_url, tmp_path):
        eventually(lambda: len(emitted("invoice.paid")) == INVOICES, within=60)
        eventually(lambda: channel.queue_declare("billing.inbox", passive=True).method.message_count == 0)
    connection.close()
    account = account_of(client, user_id)
    assert (account["balance_due"], account["credit"]) == (rupees(0), rupees(0))
    paid = [event.data["invoice_id"] for event in emitted("invoice.paid")]
    assert sorted(paid) == sorted(invoice["id"] for invoice in invoices)
    balance = client.get("/api/billing/admin/ledger/trial-balance", headers=bearer(ADMIN, "admin")).json
    assert balance["totals"] == [rupees(0)]
    assert {a["ledger_account"]: a["balance"] for a in balance["accounts"]} == {
        "cash": rupees(1_000 * INVOICES),
        "receivable": rupees(0),
        "revenue": rupees(-1_000 * INVOICES),
    }
