"""Codes: to the number or address that they were asked for, by one channel, and nowhere else."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common.db import reading
from notification.models import Channel, Delivery, Notification
from tests.support.notifications import a_customer, tell


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
    "event_type", ["user.password.changed", "user.locked_out", "kyc.approved", "kyc.rejected"]
)
def test_notices_go_by_every_channel(client: FlaskClient, event_type: str) -> None:
    tell(event_type, a_customer())
    assert {delivery.channel for delivery in deliveries(event_type)} == {Channel.EMAIL, Channel.SMS}
    with reading() as session:
        assert event_type in session.scalars(select(Notification.event_type)).all()
