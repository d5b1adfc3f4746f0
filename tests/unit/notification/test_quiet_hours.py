"""Quiet hours: they hold up their own reader and nobody else, and end when the reader's clock says so."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import clock
from notification import sending
from notification.messages import make_sms
from notification.models import Channel, Preference
from notification.sending import Sender
from tests.support.notifications import FakeProvider, a_customer, tell
from tests.support.services import bearer

MORNING = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.fixture
def morning(app: Flask) -> Iterator[None]:
    with clock.frozen(MORNING):
        yield


def test_many_who_sleep_hold_up_nobody_who_is_awake(
    client: FlaskClient, morning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BATCH", 2)
    quiet = {"quiet_hours": {"start": "09:00", "end": "11:00"}}  # it is half past nine in Colombo
    for _ in range(5):
        user_id = a_customer()
        answer = client.put("/api/notifications/preferences", json=quiet, headers=bearer(user_id))
        assert answer.status_code == 200
        tell("service.activated", user_id)
    tell("service.activated", a_customer())
    sms = FakeProvider("sms")
    sender = Sender(Channel.SMS, make_sms, lambda: [sms])
    assert sender.run() is False
    assert len(sms.taken) == 1
    clock.move(timedelta(minutes=91))
    sender.run()
    assert len({message.id for message in sms.taken}) == 6


def test_quiet_hours_end_once_in_the_hour_that_the_clocks_strike_twice() -> None:
    """New York goes back from two to one at 06:00 UTC on 1 November 2026."""
    quiet = Preference(switched_off=[], quiet_from="22:00", quiet_until="01:45", timezone="America/New_York")
    first, second = datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    assert quiet.quiet_ends_at(first) == first + timedelta(minutes=15)
    assert quiet.quiet_ends_at(second) == second + timedelta(minutes=15), "not an hour ago"
    assert quiet.quiet_ends_at(second + timedelta(minutes=15)) is None
