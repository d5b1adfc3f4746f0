"""Codes: to the number or address that they were asked for, by one channel, and nowhere else."""

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import clock
from common.db import reading
from common.db.tables import Outbox
from notification import rendering
from notification.gateway import PermanentFailure, TemporaryFailure
from notification.messages import make_email, make_sms
from notification.models import Channel, Delivery, DeliveryAttempt, DeliveryState, Notification
from notification.sending import Sender
from tests.support.notifications import FakeProvider, a_customer, tell
from tests.support.secrecy import tells
from tests.support.services import bearer


def deliveries(event_type: str) -> list[Delivery]:
    with reading() as session:
        return list(session.scalars(select(Delivery).where(Delivery.event_type == event_type)))


@pytest.mark.parametrize(
    ("event_type", "changes", "channel", "address"),
    [
        ("user.phone.verification.requested", {"phone": "+94779999999"}, Channel.SMS, "+94779999999"),
        ("user.email.verification.requested", {"email": "new@example.lk"}, Channel.EMAIL, "new@example.lk"),
        ("user.password.reset.requested", {"channel": "sms"}, Channel.SMS, "+94771234567"),
        ("user.password.reset.requested", {"channel": "email"}, Channel.EMAIL, "nimali@example.lk"),
    ],
)
def test_a_code_goes_where_it_was_asked_for_and_never_into_the_app(
    app: Flask, event_type: str, changes: dict[str, str], channel: Channel, address: str
) -> None:
    user_id = a_customer()
    tell(event_type, user_id, **changes)
    (delivery,) = deliveries(event_type)
    assert (delivery.channel, delivery.address) == (channel, address)
    assert delivery.expires_at is not None
    with reading() as session:
        assert event_type not in session.scalars(select(Notification.event_type)).all()


@pytest.mark.parametrize(
    "event_type",
    ["user.password.changed", "user.phone.changed", "user.locked_out", "kyc.approved", "kyc.rejected"],
)
def test_notices_go_by_every_channel(client: FlaskClient, event_type: str) -> None:
    tell(event_type, a_customer())
    assert {delivery.channel for delivery in deliveries(event_type)} == {Channel.EMAIL, Channel.SMS}
    with reading() as session:
        assert event_type in session.scalars(select(Notification.event_type)).all()


def test_whoever_has_the_number_that_an_account_had_is_told_that_it_has_another(app: Flask) -> None:
    tell("user.phone.changed", a_customer(phone="+94773333333"), old_phone="+94771234567")
    sms = {each.address for each in deliveries("user.phone.changed") if each.channel is Channel.SMS}
    assert sms == {"+94771234567"}


CODE = "042042"
MORNING = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
ECHO = f"422 cannot send: your code is {CODE}"


def seen_by_staff(client: FlaskClient, user_id: str) -> str:
    """Everything that the views of messages show of a user's."""
    staff = bearer(None, "admin")
    found = client.get(f"/api/notifications/admin/deliveries?user_id={user_id}", headers=staff)
    details = [
        client.get(f"/api/notifications/admin/deliveries/{each['id']}{view}", headers=staff).text
        for each in found.json["items"]
        for view in ("", "/proof")
    ]
    inbox = client.get("/api/notifications", headers=bearer(user_id))
    assert len(details) == 4, "the welcome and the code"
    return "".join([found.text, inbox.text, *details])


@pytest.mark.parametrize("channel", ["sms", "email"])
@pytest.mark.parametrize("ending", ["sent", "refused", "expired"])
def test_a_code_is_in_its_message_alone(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, channel: str, ending: str
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = FakeProvider("fake")
    make: Any = make_sms if channel == "sms" else partial(make_email, public_url="https://care.example")
    sender = Sender(Channel(channel), make, lambda: [provider])
    with clock.frozen(MORNING):
        user_id = a_customer()
        sender.run()
        provider.taken.clear()
        tell("user.password.reset.requested", user_id, channel=channel, code=CODE)
        assert not tells(seen_by_staff(client, user_id), CODE)
        provider.fails = TemporaryFailure("refused", ECHO) if ending != "sent" else None
        sender.run()
        assert not tells(seen_by_staff(client, user_id), CODE)
    provider.fails = PermanentFailure("refused", ECHO) if ending == "refused" else None
    with clock.frozen(MORNING + timedelta(days=60 if ending == "expired" else 1)):
        sender.run()
        assert not tells(seen_by_staff(client, user_id), CODE)
    assert [CODE in str(message) for message in provider.taken] == [True] * (ending == "sent")
    with reading() as session:
        code = "user.password.reset.requested"
        (delivery,) = session.scalars(select(Delivery).where(Delivery.event_type == code))
        states = {"sent": DeliveryState.SENT}
        assert delivery.state is states.get(ending, DeliveryState.PERMANENT_FAILURE)
        kept = [delivery.data, *session.scalars(select(Outbox.body))]
        kept += session.scalars(select(DeliveryAttempt.reason)).all()
    assert not tells(str(kept), CODE), "nothing of it is kept when it can never be sent again"
    assert not tells(caplog.text, CODE)
    assert not tells("".join(str(vars(record)) for record in caplog.records), CODE)


LINK = "https://care.example/reset?user=1&token=tZ7ksecret"
RESET = "user.password.reset.requested"
ECHOES = (LINK, LINK.replace("&", "&amp;"), quote(LINK), "cut: " + LINK[-9:])


@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_link_is_in_its_message_alone(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    caplog.set_level(logging.DEBUG)
    text = {"body": "Open {{ link }}"} | ({"title": "Reset"} if channel == "email" else {})
    monkeypatch.setattr(rendering, "_changed", {(RESET, "en", channel): (1, text)})
    provider = FakeProvider("fake")
    make: Any = make_sms if channel == "sms" else partial(make_email, public_url="https://care.example")
    sender = Sender(Channel(channel), make, lambda: [provider])
    with clock.frozen(MORNING):
        user_id = a_customer()
        sender.run()
        provider.taken.clear()
        tell(RESET, user_id, channel=channel, link=LINK)
        for echo in ECHOES:
            provider.fails = TemporaryFailure("refused", f"422 cannot send: {echo}")
            sender.run()
            clock.move(timedelta(hours=2))
        assert "tZ7k" not in seen_by_staff(client, user_id)
        provider.fails = None
        sender.run()
        shown = seen_by_staff(client, user_id)
    assert "tZ7k" not in shown
    assert shown.count("refused: 422") == 2 * len(ECHOES), "what is known of it without the words"
    assert [LINK in str(message) for message in provider.taken] == [True]
    with reading() as session:
        kept = [*session.scalars(select(Delivery.data)), *session.scalars(select(Outbox.body))]
        kept += [
            *session.scalars(select(DeliveryAttempt.reason)),
            *session.scalars(select(Notification.body)),
        ]
    assert "tZ7k" not in str(kept)
    assert "tZ7k" not in caplog.text + "".join(str(vars(record)) for record in caplog.records)
