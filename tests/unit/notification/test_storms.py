"""Too much at once: digests in the place of storms, and SMS that are saved because the push was read."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import clock
from common.db import db, reading
from notification.messages import make_email, make_push, make_sms
from notification.models import Channel, Delivery
from notification.sending import Sender
from tests.support.notifications import FakeProvider, a_customer, tell
from tests.support.services import bearer, make_app

URL = "/api/notifications"
NOON = datetime(2026, 11, 21, 6, 30, tzinfo=UTC)
VAPID = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SUBSCRIPTION = {
    "endpoint": "https://push.example.com/abc",
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}
Start = Callable[..., FlaskClient]


@pytest.fixture
def start(database_url: str, tmp_path: Path, app: Flask) -> Iterator[Start]:
    """Starts the application with settings of its own, at noon."""
    made: list[Any] = []

    def started(**settings: Any) -> FlaskClient:
        other = make_app("notification", database_url, tmp_path, vapid_private_key=VAPID, **settings)
        made.append(other.app_context())
        made[-1].push()
        return other.test_client()

    with clock.frozen(NOON):
        yield started
    for context in made:
        db.engine.dispose()
        context.pop()


def later(**delay: float) -> Any:
    return clock.frozen(NOON + timedelta(**delay))


def send(channel: Channel) -> list[Any]:
    provider = FakeProvider(channel.value)
    make: Any = {
        Channel.EMAIL: partial(make_email, public_url="https://care.example"),
        Channel.SMS: make_sms,
        Channel.PUSH: make_push,
    }[channel]
    while Sender(channel, make, lambda: [provider]).run():
        pass
    return provider.taken


def test_a_storm_becomes_one_message_that_says_what_and_how_many(start: Start) -> None:
    client = start(sms_per_hour=2, email_per_hour=3)
    user_id = a_customer(language="si")
    for n in range(60):
        tell("service.activated", user_id, offering_name=f"Pack {n}")
    assert (len(send(Channel.SMS)), len(send(Channel.EMAIL))) == (2, 3)
    with later(minutes=16):
        (sms,), (mail,) = send(Channel.SMS), send(Channel.EMAIL)
    assert sms.body == "Sri-Care: ඔබට තවත් පණිවිඩ: 58. ඒවා යෙදුමෙන් කියවිය හැක."
    assert mail.subject == "තවත් පණිවිඩ: 58"
    assert len([line for line in mail.text.splitlines() if "Pack" in line]) <= 50
    assert "category=orders" in mail.unsubscribe_url
    unread = client.get(f"{URL}/unread-count", headers=bearer(user_id)).json["unread"]
    assert unread == 61, "in the app nothing is put together"


def test_after_the_storm_messages_come_one_by_one_again(start: Start) -> None:
    start(sms_per_hour=1)
    user_id = a_customer()
    for _ in range(3):
        tell("service.activated", user_id)
    assert len(send(Channel.SMS)) == 1
    with later(minutes=61):
        send(Channel.SMS)
        tell("service.activated", user_id, offering_name="Roaming")
        (sms,) = send(Channel.SMS)
    assert "Roaming" in sms.body


def test_what_comes_while_a_digest_is_on_its_way_is_in_the_next(start: Start) -> None:
    start(sms_per_hour=1)
    user_id = a_customer()
    for _ in range(3):
        tell("service.activated", user_id)
    send(Channel.SMS)
    with later(minutes=16):
        tell("service.activated", user_id)
        (first,) = send(Channel.SMS)
    with later(minutes=32):
        (second,) = send(Channel.SMS)
    assert ("2" in first.body, "1" in second.body) == (True, True)


def test_security_and_statutory_notices_are_never_put_into_a_digest(start: Start) -> None:
    start(sms_per_hour=1, email_per_hour=1)
    user_id = a_customer()
    for _ in range(3):
        tell("user.locked_out", user_id)
        tell("account.barred", user_id, level="soft")
    assert len(send(Channel.SMS)) == 6


def test_each_category_has_a_digest_of_its_own_and_one_that_is_switched_off_none(start: Start) -> None:
    client = start(sms_per_hour=1)
    user_id = a_customer()
    tell("service.activated", user_id)
    wish = {"categories": {"payments": {"sms": False}}}
    assert client.put(f"{URL}/preferences", json=wish, headers=bearer(user_id)).status_code == 200
    for kind in ("service.activated", "invoice.issued", "wallet.low_balance"):
        tell(kind, user_id)
    with reading() as session:
        waiting = select(Delivery.event_type).where(
            Delivery.channel == Channel.SMS, Delivery.event_type.like("digest.%")
        )
        assert sorted(session.scalars(waiting)) == ["digest.billing", "digest.orders"]


def test_an_sms_is_saved_when_the_push_is_read_and_comes_when_it_is_not(start: Start) -> None:
    client = start(sms_if_unread_min=10)
    reader, other = (a_customer() for _ in range(2))
    for n, user_id in enumerate((reader, other)):
        device = {**SUBSCRIPTION, "endpoint": f"https://push.example.com/{n}"}
        assert client.post(f"{URL}/devices", json=device, headers=bearer(user_id)).status_code == 201
        tell("service.activated", user_id)
    assert (len(send(Channel.PUSH)), send(Channel.SMS)) == (2, [])
    newest = client.get(f"{URL}?limit=1", headers=bearer(reader)).json["items"][0]
    assert client.post(f"{URL}/{newest['id']}/read", headers=bearer(reader)).status_code == 200
    with later(minutes=9):
        assert send(Channel.SMS) == []
    with later(minutes=11):
        assert len(send(Channel.SMS)) == 1
    deliveries = client.get(f"{URL}/admin/deliveries?channel=sms", headers=bearer(None, "admin")).json[
        "items"
    ]
    assert [(each["user_id"], each["state"]) for each in deliveries] == [(other, "sent")]


def test_an_sms_waits_for_nobody_who_has_no_push_nor_for_a_notice(start: Start) -> None:
    client = start(sms_if_unread_min=10)
    without, user_id = a_customer(), a_customer()
    assert client.post(f"{URL}/devices", json=SUBSCRIPTION, headers=bearer(user_id)).status_code == 201
    tell("service.activated", without)
    tell("account.barred", user_id, level="soft")
    assert len(send(Channel.SMS)) == 2


def test_by_default_nothing_waits(start: Start) -> None:
    client = start()
    user_id = a_customer()
    assert client.post(f"{URL}/devices", json=SUBSCRIPTION, headers=bearer(user_id)).status_code == 201
    tell("service.activated", user_id)
    assert len(send(Channel.SMS)) == 1
