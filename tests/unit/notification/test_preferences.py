"""What customers choose: categories, channels, language, quiet hours; unsubscribing by link and by STOP."""

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
from sqlalchemy import select

from common import clock, ids
from common.db import db, reading
from notification.gateway.email import EmailSink
from notification.gateway.sms import twilio_signature
from notification.gateway.webhooks import sign
from notification.messages import make_email, make_sms
from notification.models import Channel, Delivery, EarlyReceipt
from notification.sending import Sender
from notification.worker import take_early_receipts
from tests.support.notifications import FakeProvider, a_customer, tell
from tests.support.services import bearer, emitted, make_app

URL = "/api/notifications"
NIGHT = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
"""23:30 in Colombo."""
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()


def choose(client: FlaskClient, user_id: str, **wish: Any) -> Any:
    answer = client.put(f"{URL}/preferences", json=wish, headers=bearer(user_id))
    assert answer.status_code == 200, answer.text
    return answer.json


def ways(user_id: str, event_type: str) -> set[str]:
    with reading() as session:
        rows = session.scalars(select(Delivery).where(Delivery.user_id == user_id)).all()
    return {row.channel.value for row in rows if row.event_type == event_type}


def send_sms(provider: FakeProvider) -> None:
    Sender(Channel.SMS, make_sms, lambda: [provider]).run()


def test_everything_is_on_until_one_chooses(client: FlaskClient) -> None:
    user_id = a_customer(language="ta")
    shown = client.get(f"{URL}/preferences", headers=bearer(user_id)).json
    assert shown["language"] == "ta"
    assert shown["quiet_hours"] is None
    assert set(shown["categories"]) >= {"orders", "billing", "payments", "security", "statutory", "marketing"}
    assert all(all(channels.values()) for channels in shown["categories"].values())


def test_what_is_shown_can_be_put_back(client: FlaskClient) -> None:
    user_id = a_customer()
    choose(
        client, user_id, quiet_hours={"start": "22:00", "end": "07:00"}, categories={"orders": {"sms": False}}
    )
    shown = client.get(f"{URL}/preferences", headers=bearer(user_id)).json
    assert choose(client, user_id, **shown) == shown


def test_a_channel_that_is_off_gets_nothing_of_its_category(client: FlaskClient) -> None:
    user_id = a_customer()
    choose(client, user_id, categories={"orders": {"sms": False, "in_app": False}})
    tell("service.activated", user_id)
    tell("invoice.issued", user_id)
    assert ways(user_id, "service.activated") == {"email"}
    assert ways(user_id, "invoice.issued") == {"email", "sms"}
    inbox = client.get(URL, headers=bearer(user_id)).json["items"]
    assert [item["event_type"] for item in inbox] == ["invoice.issued", "user.created"]
    choose(client, user_id, categories={"orders": {"sms": True}})
    tell("service.activated", user_id)
    assert ways(user_id, "service.activated") == {"email", "sms"}


def test_what_is_switched_off_while_it_waits_is_not_sent(client: FlaskClient) -> None:
    user_id = a_customer()
    tell("service.activated", user_id)
    choose(client, user_id, categories={"orders": {"sms": False}})
    provider = FakeProvider()
    send_sms(provider)
    assert provider.taken == []
    assert emitted("notification.failed")[-1].data["reason"] == "switched_off"


@pytest.mark.parametrize("category", ["security", "statutory"])
def test_security_and_statutory_notices_cannot_be_switched_off(client: FlaskClient, category: str) -> None:
    user_id = a_customer()
    answer = client.put(
        f"{URL}/preferences", json={"categories": {category: {"sms": False}}}, headers=bearer(user_id)
    )
    assert (answer.status_code, answer.json["code"]) == (422, "category_mandatory")
    assert answer.json["errors"] == [{"field": f"categories.{category}", "message": "cannot be switched off"}]
    tell("account.barred", user_id)
    assert "sms" in ways(user_id, "account.barred")


def test_the_language_is_ones_own_choice(client: FlaskClient) -> None:
    user_id = a_customer()
    assert choose(client, user_id, language="si")["language"] == "si"
    tell("invoice.paid", user_id)
    assert client.get(URL, headers=bearer(user_id)).json["items"][0]["language"] == "si"


def test_messages_wait_for_the_end_of_the_quiet_hours(client: FlaskClient) -> None:
    with clock.frozen(NIGHT):
        user_id, other = a_customer(), a_customer()
        quiet = {"start": "22:00", "end": "07:00", "timezone": "Asia/Colombo"}
        choose(client, user_id, quiet_hours=quiet)
        for user in (user_id, other):
            tell("service.activated", user)
        provider = FakeProvider()
        send_sms(provider)
        assert len(provider.taken) == 1, "the other customer sleeps at another time"
        clock.move(timedelta(hours=7, minutes=29))
        send_sms(provider)
        assert len(provider.taken) == 1
        clock.move(timedelta(minutes=1))
        send_sms(provider)
        assert len(provider.taken) == 2


@pytest.mark.parametrize(
    ("start", "end", "zone", "until"),
    [
        ("22:00", "07:00", "Asia/Colombo", datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
        ("23:00", "23:45", "Asia/Colombo", datetime(2026, 11, 21, 18, 15, tzinfo=UTC)),
        ("01:00", "07:00", "Asia/Colombo", None),
        ("17:00", "19:00", "Europe/London", datetime(2026, 11, 21, 19, 0, tzinfo=UTC)),
        ("23:30", "23:00", "Asia/Colombo", datetime(2026, 11, 22, 17, 30, tzinfo=UTC)),
    ],
)
def test_quiet_hours_are_those_of_the_wall_clock(
    start: str, end: str, zone: str, until: datetime | None
) -> None:
    from notification.models import Preference

    chosen = Preference(switched_off=[], quiet_from=start, quiet_until=end, timezone=zone)
    assert chosen.quiet_ends_at(NIGHT) == until


BAD_CHOICES = [
    {"language": "fr"},
    {"categories": {"weather": {"sms": False}}},
    {"categories": {"orders": {"pigeon": False}}},
    {"categories": {"orders": {"sms": "no"}}},
    {"quiet_hours": {"start": "25:00", "end": "07:00"}},
    {"quiet_hours": {"start": "07:00", "end": "07:00"}},
    {"quiet_hours": {"start": "22:00", "end": "07:00", "timezone": "Mars/Olympus"}},
    {"quiet_hours": {"start": "22:00", "end": "07:00", "timezone": "../../etc/passwd"}},
    {"unknown": 1},
]


def test_a_bad_choice_is_refused_and_changes_nothing(client: FlaskClient) -> None:
    for wish in BAD_CHOICES:
        user_id = a_customer()
        before = client.get(f"{URL}/preferences", headers=bearer(user_id)).json
        answer = client.put(f"{URL}/preferences", json=wish, headers=bearer(user_id))
        assert answer.status_code == 422, answer.text
        assert client.get(f"{URL}/preferences", headers=bearer(user_id)).json == before


def sent_headers(folder: Path) -> dict[str, str]:
    import email

    (path,) = folder.iterdir()
    return dict(email.message_from_bytes(path.read_bytes()).items())


def test_one_click_in_an_email_ends_those_of_its_category(client: FlaskClient, tmp_path: Path) -> None:
    user_id = a_customer()
    make = partial(make_email, public_url="https://care.example")
    Sender(
        Channel.EMAIL, make, lambda: [EmailSink(tmp_path / "mail", "Sri-Care <no-reply@sri-care.example>")]
    ).run()
    headers = sent_headers(tmp_path / "mail")
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = headers["List-Unsubscribe"].strip("<>").removeprefix("https://care.example")
    page = client.get(link)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert client.get(f"{URL}/preferences", headers=bearer(user_id)).json["categories"]["account"]["email"]
    for _ in range(2):
        answer = client.post(link, data={"List-Unsubscribe": "One-Click"})
        assert (answer.status_code, answer.json) == (200, {"category": "account", "email": False})
    chosen = client.get(f"{URL}/preferences", headers=bearer(user_id)).json["categories"]
    assert not chosen["account"]["email"]
    assert chosen["orders"]["email"]
    statutory = link.replace("category=account", "category=statutory")
    assert client.post(statutory).status_code == 404
    assert client.post(f"{URL}/unsubscribe?token=guess&category=orders").status_code == 404


def test_a_statutory_email_has_no_unsubscribe_link(app: Flask, tmp_path: Path) -> None:
    user_id = a_customer()
    tell("account.barred", user_id)
    provider = FakeProvider()
    make = partial(make_email, public_url="https://care.example")
    Sender(Channel.EMAIL, make, lambda: [provider]).run()
    assert [message.unsubscribe_url is None for message in provider.taken] == [False, True]


def signed(body: bytes, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    stamp, message_id = int((at or clock.now()).timestamp()), ids.new_id()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, message_id, stamp, body),
    }


@pytest.fixture
def gateways(app: Flask, database_url: str, tmp_path: Path) -> Iterator[FlaskClient]:
    """The application with both SMS gateways set up."""
    made = make_app(
        "notification",
        database_url,
        tmp_path,
        sms_http_secret=SECRET,
        twilio_token="a token",
        public_url="https://care.example",
    )
    yield made.test_client()
    with made.app_context():
        db.engine.dispose()


def test_stop_by_sms_ends_what_may_be_ended_and_start_resumes_it(gateways: FlaskClient) -> None:
    user_id = a_customer()

    def say(words: str) -> None:
        body = orjson.dumps({"from": "+94771234567", "text": words})
        assert gateways.post(f"{URL}/sms/http/inbound", data=body, headers=signed(body)).status_code == 204

    say(" stop. ")
    tell("service.activated", user_id)
    tell("account.barred", user_id)
    assert "sms" not in ways(user_id, "service.activated")
    assert "sms" in ways(user_id, "account.barred")
    say("what is this")
    say("START")
    tell("order.failed", user_id)
    assert "sms" in ways(user_id, "order.failed")


@pytest.mark.parametrize("number", ["0771234567", "94771234567", "0094 77 123 4567", "+94 77-123-4567"])
def test_stop_is_heard_however_the_gateway_writes_the_number(gateways: FlaskClient, number: str) -> None:
    user_id, other = a_customer(), a_customer(phone="+94771234568")
    body = orjson.dumps({"from": number, "text": "STOP"})
    assert gateways.post(f"{URL}/sms/http/inbound", data=body, headers=signed(body)).status_code == 204
    for each in (user_id, other):
        tell("service.activated", each)
    assert ("sms" in ways(user_id, "service.activated"), "sms" in ways(other, "service.activated")) == (
        False,
        True,
    )


def test_twilios_callbacks_are_believed_only_with_its_signature(gateways: FlaskClient) -> None:
    user_id = a_customer()
    form = {"From": "+94771234567", "Body": "STOP", "MessageSid": "SM1"}
    path = f"{URL}/sms/twilio/inbound"
    good = twilio_signature("a token", f"https://care.example{path}", form)
    forged = gateways.post(path, data=form, headers={"X-Twilio-Signature": "x" + good[1:]})
    assert (forged.status_code, forged.json["code"]) == (401, "unauthorized")
    assert gateways.post(path, data=form, headers={"X-Twilio-Signature": good}).status_code == 204
    tell("service.activated", user_id)
    assert "sms" not in ways(user_id, "service.activated")


@pytest.mark.parametrize("kind", ["forged", "stale", "none"])
def test_an_unsigned_or_old_callback_changes_nothing(gateways: FlaskClient, kind: str) -> None:
    body = orjson.dumps({"from": "+94771234567", "text": "STOP"})
    headers = {
        "forged": signed(body, "whsec_" + base64.b64encode(b"another").decode()),
        "stale": signed(body, at=clock.now() - timedelta(minutes=6)),
        "none": {"Content-Type": "application/json"},
    }[kind]
    user_id = a_customer()
    assert gateways.post(f"{URL}/sms/http/inbound", data=body, headers=headers).status_code == 401
    tell("service.activated", user_id)
    assert "sms" in ways(user_id, "service.activated")


def test_a_gateway_that_is_not_set_up_has_no_callbacks(client: FlaskClient) -> None:
    for provider in ("http", "twilio", "pigeon"):
        assert client.post(f"{URL}/sms/{provider}/inbound", json={}).status_code == 404


def test_receipts_settle_a_message_once(gateways: FlaskClient) -> None:
    user_id = a_customer()
    tell("service.activated", user_id)
    send_sms(FakeProvider("http"))

    def receipt(status: str, reference: str = "fake-1") -> int:
        body = orjson.dumps({"reference": reference, "status": status, "reason": "x"})
        return gateways.post(f"{URL}/sms/http/receipts", data=body, headers=signed(body)).status_code

    assert receipt("delivered", "unknown") == 204
    assert [receipt("delivered"), receipt("delivered"), receipt("failed")] == [204, 204, 204]
    staff = bearer(None, "admin")
    (shown,) = gateways.get(f"{URL}/admin/deliveries?channel=sms", headers=staff).json["items"]
    assert (shown["state"], shown["address"]) == ("delivered", "***567")
    detail = gateways.get(f"{URL}/admin/deliveries/{shown['id']}", headers=staff).json
    assert [(each["provider"], each["reference"]) for each in detail["tries"]] == [("http", "fake-1")]


@pytest.mark.parametrize("status", ["delivered", "failed"])
def test_a_receipt_that_overtakes_the_answer_to_our_call_is_not_lost(
    gateways: FlaskClient, status: str
) -> None:
    user_id = a_customer()
    tell("service.activated", user_id)
    states = {"delivered": "delivered", "failed": "permanent_failure"}

    def shown() -> str:
        (sms,) = gateways.get(f"{URL}/admin/deliveries?channel=sms", headers=bearer(None, "admin")).json[
            "items"
        ]
        return str(sms["state"])

    for each in (status, *states):  # the first word counts
        body = orjson.dumps({"reference": "fake-1", "status": each, "reason": "x"})
        answer = gateways.post(f"{URL}/sms/http/receipts", data=body, headers=signed(body))
        assert answer.status_code == 204
    take_early_receipts()
    assert shown() == "created"
    send_sms(FakeProvider("http"))
    assert shown() == "sent"
    take_early_receipts()
    assert shown() == states[status]
    take_early_receipts()
    with reading() as session:
        assert session.scalars(select(EarlyReceipt)).all() == []


def test_a_receipt_of_a_message_that_never_was_is_forgotten(gateways: FlaskClient) -> None:
    body = orjson.dumps({"reference": "nobody's", "status": "delivered"})
    assert gateways.post(f"{URL}/sms/http/receipts", data=body, headers=signed(body)).status_code == 204
    with clock.frozen(clock.now() + timedelta(days=2)):
        take_early_receipts()
    with reading() as session:
        assert session.scalars(select(EarlyReceipt.reference)).all() == ["nobody's"]
    with clock.frozen(clock.now() + timedelta(days=4)):
        take_early_receipts()
    with reading() as session:
        assert session.scalars(select(EarlyReceipt)).all() == []


def test_staff_see_a_failed_message_and_have_it_tried_again(client: FlaskClient) -> None:
    from notification.gateway import PermanentFailure

    user_id = a_customer()
    tell("service.activated", user_id)
    provider = FakeProvider()
    provider.fails = PermanentFailure("recipient_refused", "no such number")
    send_sms(provider)
    admin = bearer(None, "admin")
    query = f"{URL}/admin/deliveries?state=permanent_failure&user_id={user_id}"
    (failed,) = client.get(query, headers=admin).json["items"]
    again = client.post(f"{URL}/admin/deliveries/{failed['id']}/retry", headers=admin)
    assert again.status_code == 202
    provider.fails = None
    send_sms(provider)
    assert len(provider.taken) == 1
    refused = client.post(f"{URL}/admin/deliveries/{failed['id']}/retry", headers=admin)
    assert (refused.status_code, refused.json["code"]) == (409, "delivery_not_retryable")
    assert client.get(f"{URL}/admin/deliveries", headers=bearer(user_id)).status_code == 403
