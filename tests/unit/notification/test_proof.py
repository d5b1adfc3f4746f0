"""Proof of delivery: what staff can show of a notice that nobody can switch off."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import clock, ids
from common.db import db
from notification import rendering
from notification.gateway import PermanentFailure, ProviderAway
from notification.gateway.webhooks import sign
from notification.messages import make_email, make_sms
from notification.models import Channel
from notification.sending import Sender
from notification.worker import use_changed_texts
from tests.support.notifications import FakeProvider, a_customer, tell
from tests.support.secrecy import tells
from tests.support.services import bearer, make_app

URL = "/api/notifications"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
MORNING = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.fixture
def gateway(app: Flask, database_url: str, tmp_path: Path) -> Iterator[FlaskClient]:
    """The application with an SMS gateway, in the morning."""
    made = make_app("notification", database_url, tmp_path, sms_http_secret=SECRET)
    with clock.frozen(MORNING):
        yield made.test_client()
    rendering.use_changed({})
    with made.app_context():
        db.engine.dispose()


def receive(client: FlaskClient, **receipt: str) -> None:
    body, message_id, stamp = orjson.dumps(receipt), ids.new_id(), int(clock.now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(SECRET, message_id, stamp, body),
    }
    assert client.post(f"{URL}/sms/http/receipts", data=body, headers=headers).status_code == 204


def proof(client: FlaskClient, event_type: str, channel: str, role: str = "agent") -> Any:
    found = client.get(f"{URL}/admin/deliveries?channel={channel}", headers=bearer(None, "agent")).json
    (delivery_id,) = [each["id"] for each in found["items"] if each["event_type"] == event_type]
    answer = client.get(f"{URL}/admin/deliveries/{delivery_id}/proof", headers=bearer(None, role))
    assert answer.status_code == 200, answer.text
    return answer.json


def send_sms(*providers: FakeProvider) -> None:
    Sender(Channel.SMS, make_sms, lambda: providers).run()


def write_sms(client: FlaskClient, body: str) -> None:
    path = f"{URL}/admin/templates/account.barred/en/sms"
    assert client.put(path, json={"body": body}, headers=bearer(None, "admin")).status_code == 200
    use_changed_texts()


def test_a_notice_that_was_sent_against_the_readers_wish_can_be_proved(gateway: FlaskClient) -> None:
    user_id = a_customer()
    every = ("account", "orders", "billing", "payments", "care", "marketing")
    off = {"categories": {category: {"sms": False} for category in every}}
    assert gateway.put(f"{URL}/preferences", json=off, headers=bearer(user_id)).status_code == 200
    write_sms(gateway, "Account {{ account_number }} is barred.")
    tell("account.barred", user_id)
    away, taker = FakeProvider("first"), FakeProvider("http")
    away.fails = ProviderAway("no_connection")
    send_sms(away, taker)
    clock.move(timedelta(minutes=3))
    receive(gateway, reference="fake-1", status="delivered")
    write_sms(gateway, "Something else.")
    shown = proof(gateway, "account.barred", "sms")
    assert shown["body"] == taker.taken[0].body == "Account STL-0000000042 is barred.", "not today's text"
    assert (shown["state"], shown["category"], shown["user_id"]) == ("delivered", "statutory", user_id)
    assert (shown["channel"], shown["address"], shown["language"]) == ("sms", "+94771234567", "en")
    assert (shown["taken_by"], shown["message_id"], shown["text_version"]) == ("http", "fake-1", 1)
    assert (shown["taken_at"], shown["receipt_at"]) == ("2026-11-21T04:00:00Z", "2026-11-21T04:03:00Z")
    assert shown["receipt"] == "delivered"
    assert [(each["provider"], each["outcome"], each["receipt_at"] is None) for each in shown["tries"]] == [
        ("first", "temporary_failure", True),
        ("http", "sent", False),
    ]


def test_an_email_is_proved_by_its_message_id_and_words(gateway: FlaskClient) -> None:
    tell("invoice.overdue", a_customer())
    provider = FakeProvider("smtp")
    make = partial(make_email, public_url="https://care.example")
    Sender(Channel.EMAIL, make, lambda: [provider]).run()
    shown = proof(gateway, "invoice.overdue", "email", "admin")
    assert (shown["taken_by"], shown["message_id"], shown["text_version"]) == ("smtp", "fake-2", 0)
    assert (shown["receipt"], shown["receipt_at"], shown["state"]) == (None, None, "sent")
    assert (shown["address"], shown["title"]) == ("nimali@example.lk", "Bill INV-2026-000042 is overdue")
    assert shown["body"] in provider.taken[1].text


def test_what_was_not_sent_or_not_received_proves_no_more_than_that(gateway: FlaskClient) -> None:
    tell("account.barred", a_customer())
    unsent = proof(gateway, "account.barred", "sms")
    assert (unsent["taken_by"], unsent["taken_at"], unsent["body"], unsent["tries"]) == (None, None, None, [])
    send_sms(FakeProvider("http"))
    receive(gateway, reference="fake-1", status="failed", reason="unknown subscriber")
    shown = proof(gateway, "account.barred", "sms")
    assert (shown["state"], shown["receipt"]) == ("permanent_failure", "not_delivered")
    assert shown["tries"][0]["reason"] == "unknown subscriber"


@pytest.mark.parametrize("refused", [False, True])
def test_the_proof_of_a_code_holds_nothing_from_which_it_could_be_found(
    gateway: FlaskClient, refused: bool
) -> None:
    """A digest of known words and six digits is found by trying."""
    tell("user.password.reset.requested", a_customer(), channel="sms", code="042042")
    provider = FakeProvider("http")
    provider.fails = PermanentFailure("refused", "042042 is no") if refused else None
    send_sms(provider)
    shown = proof(gateway, "user.password.reset.requested", "sms")
    assert (shown["title"], shown["body"], shown["words_sha256"]) == (None, None, None)
    assert (shown["text_version"], shown["taken_by"]) == ((None, None) if refused else (0, "http"))
    assert not tells(str(shown), "042042")


def test_proofs_are_for_staff(gateway: FlaskClient) -> None:
    path = f"{URL}/admin/deliveries/{ids.new_id()}/proof"
    assert gateway.get(path, headers=bearer()).status_code == 403
    assert gateway.get(path, headers=bearer(None, "agent")).status_code == 404
