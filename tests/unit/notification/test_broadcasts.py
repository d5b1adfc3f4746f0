"""Broadcasts: whom they reach, in which pace, and that a crash or a cancellation neither loses nor doubles any."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sa_event
from sqlalchemy import select

from common import clock, ids
from common.db import db, reading
from notification.gateway import ProviderAway
from notification.handlers import HANDLERS
from notification.messages import make_email, make_sms
from notification.models import Channel, Delivery, Notification
from notification.sending import Sender
from notification.use_cases import broadcasts
from notification.worker import go_on_with_broadcasts
from tests.support.notifications import FakeProvider, a_customer, sample, tell
from tests.support.services import an_event, bearer, deliver

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


class Killed(BaseException):
    """As by SIGKILL: nothing after it runs, and the database undoes what was not committed."""


@contextmanager
def killed_at(step: int) -> Iterator[Iterator[int]]:
    """Dies before the step-th commit or after the step-th call of a provider, which yields what it is counted by.
    Dying at a statement before a commit leaves the same behind."""
    steps = count(1)

    def next_step(*_: Any) -> None:
        if next(steps) == step:
            raise Killed

    sa_event.listen(db.engine, "commit", next_step)
    try:
        yield steps
    finally:
        sa_event.remove(db.engine, "commit", next_step)


class Deadly(FakeProvider):
    """Takes a message and then has its caller die, if it is its turn."""

    def __init__(self, steps: Iterator[int], step: int) -> None:
        super().__init__()
        self._steps, self._step = steps, step

    def send(self, message: Any) -> str | None:
        reference = super().send(message)
        if next(self._steps) == self._step:
            raise Killed
        return reference


def test_a_worker_killed_at_any_step_leaves_out_nobody_and_tells_nobody_twice(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "BATCH", 1)
    users = sorted(a_customer() for _ in range(2))
    for step in count(1):
        with clock.frozen(NOON + timedelta(hours=step)):
            made = start(client, channels=["in_app", "sms"])
            with killed_at(step) as steps:
                sms, died = Deadly(steps, step), False
                try:
                    go_on(0)
                    Sender(Channel.SMS, make_sms, lambda sms=sms: [sms]).run()
                except Killed:
                    died = True
            clock.move(timedelta(seconds=70))
            go_on(0)
            Sender(Channel.SMS, make_sms, lambda sms=sms: [sms]).run()
            shown = show(client, made)
            assert sorted(readers(made)) == users, f"killed at step {step}"
            assert (shown["state"], shown["passed"], shown["told"]) == ("finished", 2, 2)
            assert shown["deliveries"] == {"sms": {"sent": 2}}, f"killed at step {step}"
            assert len({message.id for message in sms.taken}) == 2, "a repeat has the same id"
            assert len(sms.taken) <= 2 * len(users), "once more at most"
        if not died:
            assert step > 6, "every step was tried"
            break


def test_a_segment_is_by_account_and_by_what_one_holds(client: FlaskClient, noon: None) -> None:
    barred, restored, holder, former = (a_customer() for _ in range(4))
    tell("account.barred", barred)
    happen("account.restored", restored, timedelta(minutes=1))
    happen("account.barred", restored, timedelta())  # overtaken by its end
    tell("service.activated", holder, service_id=ids.new_id(), offering_code="data-10gb")
    tell("service.activated", barred, service_id=ids.new_id(), offering_code="voice-100")
    gone = ids.new_id()
    happen("service.deactivated", former, timedelta(minutes=1), service_id=gone, offering_code="data-10gb")
    happen("service.activated", former, timedelta(), service_id=gone, offering_code="data-10gb")
    expected = {
        "barred": ({"barred": True}, {barred}),
        "not barred": ({"barred": False}, {restored, holder, former}),
        "data": ({"holding": ["data-10gb"]}, {holder}),
        "any of two": ({"holding": ["data-10gb", "voice-100"]}, {holder, barred}),
        "both asked": ({"holding": ["data-10gb", "voice-100"], "barred": False}, {holder}),
        "of the named": ({"holding": ["data-10gb"], "user_ids": [holder, former]}, {holder}),
        "nobody": ({"holding": ["unknown"]}, set()),
    }
    made = {name: start(client, segment=segment) for name, (segment, _) in expected.items()}
    go_on()
    assert {name: set(readers(each)) for name, each in made.items()} == {
        name: users for name, (_, users) in expected.items()
    }
    shown = show(client, made["any of two"])
    assert (shown["state"], shown["total"], shown["passed"], shown["holding"]) == (
        "finished", 2, 2, ["data-10gb", "voice-100"],
    )  # fmt: skip


def happen(event_type: str, user_id: str, after: timedelta, **changes: Any) -> None:
    """An event of a time, in whatever order it arrives."""
    data = sample(event_type, user_id, **changes)
    deliver(HANDLERS, an_event(event_type, user_id, data, time=NOON + after))


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


def test_a_message_that_was_with_its_provider_at_the_cancellation_is_not_tried_again(
    client: FlaskClient, noon: None
) -> None:
    a_customer()
    made = start(client, channels=["sms"], per_minute=60)
    go_on(0)

    class Away(FakeProvider):
        def send(self, message: Any) -> str | None:
            assert client.post(f"{PATH}/{made}/cancel", headers=admin()).status_code == 200
            raise ProviderAway("no_connection")

    Sender(Channel.SMS, make_sms, lambda: [Away()]).run()
    assert show(client, made)["deliveries"] == {"sms": {"temporary_failure": 1}}
    sms = FakeProvider("sms")
    with clock.frozen(NOON + timedelta(hours=1)):
        Sender(Channel.SMS, make_sms, lambda: [sms]).run()
    assert (sms.taken, show(client, made)["deliveries"]) == ([], {"sms": {"permanent_failure": 1}})


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
    {"segment": {"holding": [""]}},
    {"segment": {"holding": ["x"] * 21}},
    {"segment": {"barred": "perhaps"}},
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
