"""Broadcasts: whom they reach, in which pace, and that a crash or a cancellation neither loses nor doubles any."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import clock, ids
from common.db import reading, transaction
from notification.messages import make_email, make_sms
from notification.models import Channel, Delivery, Notification
from notification.sending import Sender
from notification.use_cases import broadcasts
from notification.worker import go_on_with_broadcasts
from tests.support.notifications import FakeProvider, a_customer, tell
from tests.support.services import bearer

URL = "/api/notifications"
PATH = f"{URL}/admin/broadcasts"
NOON = datetime(2026, 11, 21, 6, 30, tzinfo=UTC)


def admin() -> dict[str, str]:
    return bearer(None, "admin")


@pytest.fixture
def noon(app: Flask) -> Iterator[None]:
    with clock.frozen(NOON):
        yield


def words(language: str) -> dict[str, str]:
    return {"title": f"News {language}", "body": f"Body {language} {{{{ 1/0 }}}}", "sms": f"Text {language}"}


def wish(**changes: Any) -> dict[str, Any]:
    return {
        "category": "marketing",
        "channels": ["in_app"],
        "texts": {language: words(language) for language in ("en", "si", "ta")},
    } | changes


def start(client: FlaskClient, **changes: Any) -> str:
    answer = client.post(PATH, json=wish(**changes), headers=admin())
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def show(client: FlaskClient, broadcast_id: str) -> Any:
    return client.get(f"{PATH}/{broadcast_id}", headers=admin()).json


def go_on(seconds: float = 2.0) -> None:
    """The worker's job, so many seconds later, until it has nothing to do at once."""
    with clock.frozen(clock.now() + timedelta(seconds=seconds)):
        while go_on_with_broadcasts():
            pass


def readers(broadcast_id: str) -> list[str]:
    with reading() as session:
        rows = select(Notification.user_id).where(Notification.event_id == broadcast_id)
        return list(session.scalars(rows))


def test_everybody_reads_it_once_in_their_language(client: FlaskClient, noon: None) -> None:
    users = {language: a_customer(language=language) for language in ("en", "si", "ta")}
    made = start(client)
    go_on()
    for language, user_id in users.items():
        newest = client.get(f"{URL}?limit=1", headers=bearer(user_id)).json["items"][0]
        assert (newest["title"], newest["body"]) == (f"News {language}", f"Body {language} {{{{ 1/0 }}}}")
        assert newest["data"] == {"broadcast_id": made}
    assert sorted(readers(made)) == sorted(users.values())
    shown = show(client, made)
    assert (shown["state"], shown["passed"], shown["told"], shown["total"]) == ("finished", 3, 3, 3)


def test_it_leaves_the_house_by_email_and_sms_with_its_own_words(client: FlaskClient, noon: None) -> None:
    a_customer()
    made = start(client, channels=["email", "sms"])
    go_on(0)
    mail, sms = FakeProvider("mail"), FakeProvider("sms")
    Sender(Channel.EMAIL, lambda each: make_email(each, "https://care.example"), lambda: [mail]).run()
    Sender(Channel.SMS, make_sms, lambda: [sms]).run()
    (promoted,) = [each for each in mail.taken if each.subject == "News en"]
    assert "Body en {{ 1/0 }}" in promoted.text
    assert "category=marketing" in promoted.unsubscribe_url
    assert [each.body for each in sms.taken] == ["Text en"]
    assert show(client, made)["deliveries"] == {"email": {"sent": 1}, "sms": {"sent": 1}}


def test_a_segment_is_by_language_and_by_name_and_leaves_out_who_does_not_want_it(
    client: FlaskClient, noon: None
) -> None:
    english, sinhala, off = a_customer(), a_customer(language="si"), a_customer(language="si")
    answer = client.put(
        f"{URL}/preferences",
        json={"categories": {"marketing": {"in_app": False}}},
        headers=bearer(off),
    )
    assert answer.status_code == 200
    by_language = start(client, segment={"languages": ["si"]})
    by_name = start(client, segment={"user_ids": [english, off, ids.new_id(), english]})
    statutory = start(client, category="statutory")
    go_on()
    assert readers(by_language) == [sinhala]
    assert readers(by_name) == [english]
    assert sorted(readers(statutory)) == sorted([english, sinhala, off])
    assert [show(client, each)["told"] for each in (by_language, by_name, statutory)] == [1, 1, 3]


def test_a_worker_that_dies_in_the_middle_loses_and_doubles_nobody(
    client: FlaskClient, noon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "BATCH", 2)
    users = sorted(a_customer() for _ in range(5))
    made = start(client)
    with clock.frozen(NOON + timedelta(seconds=4)):
        assert go_on_with_broadcasts() is True
        with pytest.raises(KeyboardInterrupt), transaction() as session:
            broadcasts.continue_broadcasts(session)
            raise KeyboardInterrupt
    assert sorted(readers(made)) == users[:2]
    go_on(10)
    assert sorted(readers(made)) == users


def test_it_goes_in_its_pace_and_waits_for_its_time(client: FlaskClient, noon: None) -> None:
    for _ in range(4):
        a_customer()
    made = start(client, starts_at="2026-11-21T07:00:00Z", per_minute=60)
    go_on(1700)
    assert (show(client, made)["state"], readers(made)) == ("scheduled", [])
    told = []
    for second in range(1800, 1806):
        go_on(second)
        told.append(len(readers(made)))
    assert told == [1, 2, 3, 4, 4, 4]
    assert show(client, made)["state"] == "finished"


def test_a_cancelled_one_reaches_nobody_else_and_sends_nothing_more(
    client: FlaskClient, noon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        a_customer()
    made = start(client, channels=["sms"], per_minute=60)
    go_on(0)
    for _ in range(2):
        answer = client.post(f"{PATH}/{made}/cancel", headers=admin())
        assert (answer.status_code, answer.json["state"]) == (200, "cancelled")
    go_on(60)
    sms = FakeProvider("sms")
    Sender(Channel.SMS, make_sms, lambda: [sms]).run()
    assert sms.taken == []
    shown = show(client, made)
    assert (shown["passed"], shown["deliveries"]) == (1, {"sms": {"permanent_failure": 1}})


def test_one_that_has_reached_everybody_cannot_be_cancelled(client: FlaskClient, noon: None) -> None:
    a_customer()
    made = start(client)
    go_on(0)
    answer = client.post(f"{PATH}/{made}/cancel", headers=admin())
    assert (answer.status_code, answer.json["code"]) == (409, "broadcast_ended")


def test_an_events_message_waits_behind_few_of_a_broadcast(
    client: FlaskClient, noon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "BACKLOG", 3)
    users = [a_customer() for _ in range(8)]
    start(client, channels=["sms"])
    go_on(0)
    with clock.frozen(NOON + timedelta(seconds=61)):
        tell("service.activated", users[0])
    with clock.frozen(NOON + timedelta(seconds=62)), reading() as session:
        waiting = select(Delivery.event_type).where(Delivery.channel == Channel.SMS)
        assert sorted(session.scalars(waiting)) == ["broadcast.marketing"] * 3 + ["service.activated"]
    sms = FakeProvider("sms")
    for seconds in range(70, 80):
        with clock.frozen(NOON + timedelta(seconds=seconds)):
            Sender(Channel.SMS, make_sms, lambda: [sms]).run()
        go_on(seconds)
    assert len(sms.taken) == 9


def test_the_same_request_again_makes_no_second_one(client: FlaskClient) -> None:
    headers = bearer(ids.new_id(), "admin", key="once")
    first, second = (client.post(PATH, json=wish(), headers=headers).json["id"] for _ in range(2))
    assert first == second
    assert len(client.get(PATH, headers=admin()).json["items"]) == 1


REFUSED = [
    {"category": "security"},
    {"channels": []},
    {"channels": ["in_app", "in_app"]},
    {"channels": ["webhook"]},
    {"texts": {"en": words("en"), "si": words("si")}},
    {"texts": {each: {"title": "t", "body": "b"} for each in ("en", "si", "ta")}, "channels": ["sms"]},
    {"texts": {each: words(each) | {"body": "x" * 2001} for each in ("en", "si", "ta")}},
    {"segment": {"languages": ["fr"]}},
    {"segment": {"user_ids": []}},
    {"segment": {"user_ids": ["nobody"]}},
    {"starts_at": "tomorrow"},
    {"starts_at": "2026-11-21T07:00:00"},
    {"starts_at": "0001-01-01T00:00:00+14:00"},
    {"per_minute": 0},
    {"per_minute": 10**30},
    {"unknown": 1},
]


def test_a_wish_that_cannot_be_is_refused(client: FlaskClient) -> None:
    for changes in REFUSED:
        answer = client.post(PATH, json=wish(**changes), headers=admin())
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), answer.text
        assert client.get(PATH, headers=admin()).json["items"] == []


def test_they_are_for_admins(client: FlaskClient) -> None:
    for headers in (bearer(), bearer(None, "agent")):
        assert client.post(PATH, json=wish(), headers=headers).status_code == 403
        assert client.get(PATH, headers=headers).status_code == 403
        assert client.post(f"{PATH}/{ids.new_id()}/cancel", headers=headers).status_code == 403
    assert client.get(f"{PATH}/{ids.new_id()}", headers=admin()).status_code == 404
    assert client.post(f"{PATH}/{ids.new_id()}/cancel", headers=admin()).status_code == 404
