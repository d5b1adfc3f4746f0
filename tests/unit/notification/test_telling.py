"""Which customer is told what, and that it is told once."""

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import clock, contracts, ids
from common.db import reading
from common.db.tables import Revocation
from common.messaging import NotYet
from notification.handlers import HANDLERS
from notification.models import Delivery, Recipient
from tests.support.notifications import a_customer, sample, tell, user_data
from tests.support.secrecy import tells
from tests.support.services import an_event, bearer, deliver, emitted


def inbox(client: FlaskClient, user_id: str) -> list[dict]:
    answer = client.get("/api/notifications", headers=bearer(user_id))
    assert answer.status_code == 200, answer.text
    return answer.json["items"]


def deliveries(user_id: str) -> set[tuple[str, str]]:
    with reading() as session:
        rows = session.scalars(select(Delivery).where(Delivery.user_id == user_id)).all()
    assert len({row.id for row in rows}) == len({(row.event_id, row.channel) for row in rows})
    return {(row.event_type, row.channel.value) for row in rows}


def test_the_queue_is_bound_to_exactly_what_is_handled() -> None:
    assert set(contracts.queues()["notification.inbox"]) == set(HANDLERS)


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("en", "Welcome to Sri-Care"),
        ("si", "Sri-Care වෙත සාදරයෙන් පිළිගනිමු"),
        ("ta", "Sri-Care-க்கு வரவேற்கிறோம்"),
    ],
)
def test_a_new_customer_is_welcomed_in_their_language(client: FlaskClient, language: str, title: str) -> None:
    user_id = a_customer(language=language)
    (welcome,) = inbox(client, user_id)
    assert (welcome["title"], welcome["language"], welcome["read_at"]) == (title, language, None)
    assert deliveries(user_id) == {("user.created", "email")}


def test_an_agent_is_not_welcomed_as_a_customer(client: FlaskClient) -> None:
    user_id = a_customer(roles=["agent"])
    assert inbox(client, user_id) == []
    assert deliveries(user_id) == set()


def test_an_event_tells_once_per_channel_whatever_is_redelivered(client: FlaskClient) -> None:
    user_id = a_customer()
    event = tell("invoice.issued", user_id)
    deliver(HANDLERS, event)
    assert [item["event_type"] for item in inbox(client, user_id)] == ["invoice.issued", "user.created"]
    assert deliveries(user_id) == {
        ("user.created", "email"),
        ("invoice.issued", "email"),
        ("invoice.issued", "sms"),
    }


def test_a_deleted_notification_does_not_come_back_with_its_event(client: FlaskClient) -> None:
    user_id = a_customer()
    event = tell("invoice.paid", user_id)
    newest = inbox(client, user_id)[0]
    client.delete(f"/api/notifications/{newest['id']}", headers=bearer(user_id))
    deliver(HANDLERS, event)
    assert [item["event_type"] for item in inbox(client, user_id)] == ["user.created"]


def test_an_event_that_overtakes_the_registration_waits_for_it(client: FlaskClient) -> None:
    user_id = ids.new_id()
    event = an_event("invoice.paid", user_id, sample("invoice.paid", user_id))
    with pytest.raises(NotYet):
        deliver(HANDLERS, event)
    deliver(HANDLERS, an_event("user.created", user_id, user_data(user_id)))
    deliver(HANDLERS, event)
    assert [item["event_type"] for item in inbox(client, user_id)] == ["invoice.paid", "user.created"]


def test_what_is_told_elsewhere_waits_for_nobody(app: Flask) -> None:
    unknown = ids.new_id()
    deliver(
        HANDLERS, an_event("wallet.credited", unknown, sample("wallet.credited", unknown, reason="top_up"))
    )


def test_the_newest_profile_wins_in_whatever_order_it_is_told(client: FlaskClient) -> None:
    user_id, now = ids.new_id(), clock.now()
    updated = {**user_data(user_id, language="ta", phone="+94712222222"), "changed": ["language", "phone"]}
    deliver(HANDLERS, an_event("user.updated", user_id, updated, time=now))
    created = an_event("user.created", user_id, user_data(user_id), time=now - timedelta(seconds=5))
    deliver(HANDLERS, created)
    with reading() as session:
        recipient = session.get(Recipient, user_id)
    assert recipient is not None
    assert (recipient.phone, recipient.language) == ("+94712222222", "ta")
    assert [item["language"] for item in inbox(client, user_id)] == ["ta"]


@pytest.mark.parametrize("known", [True, False])
def test_a_deactivated_user_is_told_nothing_more_and_its_tokens_are_dead(app: Flask, known: bool) -> None:
    user_id = a_customer() if known else ids.new_id()
    before = deliveries(user_id)
    gone = an_event("user.deactivated", user_id, {"user_id": user_id, "reason": "own_wish"})
    deliver(HANDLERS, gone)
    late = an_event("user.created", user_id, user_data(user_id), time=gone.time - timedelta(seconds=9))
    deliver(HANDLERS, late)
    tell("invoice.issued", user_id)
    assert deliveries(user_id) == before
    with reading() as session:
        assert session.get(Revocation, f"user:{user_id}") is not None


def test_what_waits_for_a_user_who_goes_is_not_sent(app: Flask) -> None:
    user_id, other = a_customer(), a_customer()
    tell("user.password.reset.requested", user_id, code="493817")
    deliver(HANDLERS, an_event("user.deactivated", user_id, {"user_id": user_id, "reason": "own_wish"}))
    with reading() as session:
        rows = session.scalars(select(Delivery)).all()
    assert {(row.user_id, row.state.value) for row in rows} == {
        (user_id, "permanent_failure"),
        (other, "created"),
    }
    assert not tells(str([row.data for row in rows]), "493817")
    assert {event.data["reason"] for event in emitted("notification.failed")} == {"user_gone"}


def test_a_customer_without_email_gets_the_other_channels(client: FlaskClient) -> None:
    user_id = a_customer(email=None)
    tell("invoice.issued", user_id)
    assert deliveries(user_id) == {("invoice.issued", "sms")}
    assert len(inbox(client, user_id)) == 2


def test_one_purchase_by_card_sends_one_sms(app: Flask) -> None:
    user_id = a_customer()
    tell("order.created", user_id)
    tell("payment.completed", user_id, reference={"type": "order", "id": ids.new_id()})
    tell("service.activated", user_id)
    assert [told for told, channel in deliveries(user_id) if channel == "sms"] == ["service.activated"]


def test_a_free_order_is_told_by_its_activation_alone(client: FlaskClient) -> None:
    user_id = a_customer()
    tell("order.created", user_id, state="acknowledged")
    assert [item["event_type"] for item in inbox(client, user_id)] == ["user.created"]


def test_only_known_fields_of_an_event_are_shown(client: FlaskClient) -> None:
    user_id = a_customer()
    tell("payment.completed", user_id, code="493817", internal={"note": "x"})
    shown = inbox(client, user_id)[0]["data"]
    assert shown["amount"] == {"amount_minor": 345_050, "currency": "LKR"}
    assert not {"code", "internal", "user_id"} & set(shown)
