"""The Socket.IO side, handler by handler."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat.fanout import Fanout
from chat.handlers import HANDLERS
from chat.sockets.gate import WATCH_EVERY_S
from chat.use_cases import conversations as use_cases
from chat.use_cases.messages import Wish, send_message
from common import clock, ids
from common.db import transaction
from common.identity.requests import guard
from common.messaging.broker import Outage
from tests.support.services import an_event, bearer, deliver, emitted, token

NIMALI, KAMAL, AGENT = ids.new_id(), ids.new_id(), ids.new_id()
URL = "/api/chat/conversations"
assert WATCH_EVERY_S <= 1.0
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


@pytest.fixture
def opened(client: FlaskClient) -> str:
    return client.post(URL, json={}, headers=bearer(NIMALI)).json["id"]


def test_a_message_is_stored_when_it_is_acknowledged_and_reaches_the_others(
    client: FlaskClient, phone: Callable, opened: str
) -> None:
    customer, agent = phone(NIMALI), phone(AGENT, "agent")
    customer.join(opened)
    agent.join(opened)
    answer = customer.say(opened, "hello", "1")
    assert answer["ok"]
    assert client.get(f"{URL}/{opened}/messages", headers=bearer(NIMALI)).json["items"] == [answer["message"]]
    assert agent.heard("message:new") == [answer["message"]]
    assert customer.heard("message:new") == [answer["message"]]


def test_a_repeated_message_is_answered_with_the_first_and_shown_once(phone: Callable, opened: str) -> None:
    customer, agent = phone(NIMALI), phone(AGENT, "agent")
    customer.join(opened)
    agent.join(opened)
    assert customer.say(opened, "hello", "1") == customer.say(opened, "hello", "1")
    assert len(agent.heard("message:new")) == 1


def test_who_comes_back_gets_exactly_what_was_missed(phone: Callable, opened: str) -> None:
    agent = phone(AGENT, "agent")
    agent.join(opened)
    for n in range(1, 5):
        agent.say(opened, f"m{n}", str(n))
    answer = phone(NIMALI).join(opened, after_seq=2)
    assert [message["seq"] for message in answer["messages"]] == [3, 4]
    assert (answer["has_more"], answer["conversation"]["last_seq"]) == (False, 4)


def test_a_message_over_rest_reaches_the_sockets(client: FlaskClient, phone: Callable, opened: str) -> None:
    customer = phone(NIMALI)
    customer.join(opened)
    sent = client.post(
        f"{URL}/{opened}/messages",
        json={"client_message_id": "1", "body": "good day"},
        headers=bearer(AGENT, "agent"),
    ).json
    heard = customer.heard()
    assert heard[0] == sent
    assert (heard[1]["state"], heard[1]["agent"]["id"]) == ("assigned", AGENT)
    client.post(f"{URL}/{opened}/close", headers=bearer(AGENT, "agent"))
    assert [item["state"] for item in customer.heard("conversation:updated")] == ["closed"]
    refused = customer.say(opened, "wait", "2")
    assert (refused["ok"], refused["code"]) == (False, "conversation_closed")


def test_read_marks_move_forward_only_and_are_told(phone: Callable, opened: str) -> None:
    customer, agent = phone(NIMALI), phone(AGENT, "agent")
    customer.join(opened)
    agent.join(opened)
    for n in range(1, 4):
        agent.say(opened, "x", str(n))
    assert customer.send("message:read", {"conversation_id": opened, "seq": 3}) == {"ok": True, "seq": 3}
    assert customer.send("message:read", {"conversation_id": opened, "seq": 1}) == {"ok": True, "seq": 3}
    assert [(mark["user_id"], mark["seq"]) for mark in agent.heard("message:read")] == [(NIMALI, 3)]
    assert customer.send("message:read", {"conversation_id": opened, "seq": 4})["code"] == "validation_failed"
    assert [mark["seq"] for mark in phone(AGENT, "agent").join(opened)["read"]] == [3]


def test_a_message_that_was_read_is_not_missed(phone: Callable, opened: str) -> None:
    customer, agent = phone(NIMALI), phone(AGENT, "agent")
    customer.join(opened)
    agent.join(opened)
    agent.say(opened, "x", "1")
    customer.send("message:read", {"conversation_id": opened, "seq": 1})
    with clock.frozen(clock.now() + timedelta(hours=1)), transaction() as session:
        use_cases.tell_of_missed_messages(session)
    assert emitted("chat.message.missed") == []


def test_typing_is_told_to_the_others_only(phone: Callable, opened: str) -> None:
    customer, agent = phone(NIMALI), phone(AGENT, "agent")
    customer.join(opened)
    agent.join(opened)
    assert customer.send("typing", {"conversation_id": opened, "active": True}) == {"ok": True}
    assert agent.heard("typing") == [{"conversation_id": opened, "user_id": NIMALI, "active": True}]
    assert customer.heard("typing") == []


@on_sqlite
@pytest.mark.parametrize("bad", ["", "x", 7, None, {"a": 1}, token(exp=1), token()[:-3] + "abc"])
def test_a_bad_token_is_refused(app: Flask, bad: object) -> None:
    client = app.extensions["socketio"].test_client(app, namespace="/chat", auth={"token": bad})
    assert not client.is_connected("/chat")


@on_sqlite
@pytest.mark.parametrize("auth", [None, [], "token", 1])
def test_an_auth_that_is_no_object_is_refused(app: Flask, auth: object) -> None:
    client = app.extensions["socketio"].test_client(app, namespace="/chat", auth=auth)
    assert not client.is_connected("/chat")


@pytest.mark.parametrize(
    "event",
    [
        ("message:send", {"client_message_id": "1", "body": "x"}),
        ("message:read", {"seq": 1}),
        ("typing", {"active": True}),
    ],
)
def test_events_before_joining_are_refused(phone: Callable, opened: str, event: tuple) -> None:
    name, payload = event
    answer = phone(NIMALI).send(name, {"conversation_id": opened, **payload})
    assert (answer["ok"], answer["code"]) == (False, "not_joined")


def test_another_customers_conversation_cannot_be_joined_or_heard(phone: Callable, opened: str) -> None:
    stranger = phone(KAMAL)
    answer = stranger.send("conversation:join", {"conversation_id": opened})
    assert (answer["ok"], answer["code"]) == (False, "not_found")
    customer = phone(NIMALI)
    customer.join(opened)
    customer.say(opened, "secret", "1")
    assert stranger.heard() == []
    assert stranger.say(opened, "hi", "1")["code"] == "not_joined"


@on_sqlite
@pytest.mark.parametrize(
    "payload",
    [
        (),
        (None,),
        (1,),
        ("x",),
        ([],),
        ({}, {}),
        (b"binary",),
        ({"conversation_id": b"binary", "client_message_id": "1", "body": "x"},),
        ({"conversation_id": "x", "client_message_id": "1", "body": "x"},),
        ({"conversation_id": ids.new_id(), "client_message_id": "1", "body": b"x"},),
        ({"conversation_id": ids.new_id(), "client_message_id": "1", "body": "x" * 1_000_000},),
        ({"conversation_id": ids.new_id(), "client_message_id": "1", "body": "a\x00b"},),
        ({"conversation_id": ids.new_id(), "client_message_id": "1", "body": "\ud800"},),
        ({"conversation_id": ids.new_id(), "client_message_id": "1", "body": "x", "role": "agent"},),
        ({"conversation_id": ids.new_id(), "client_message_id": "1", "body": True},),
    ],
)
def test_a_payload_of_another_shape_is_refused_and_the_connection_goes_on(
    phone: Callable, opened: str, payload: tuple
) -> None:
    customer = phone(NIMALI)
    answer = customer.send("message:send", *payload)
    assert (answer["ok"], answer["code"]) == (False, "validation_failed")
    assert customer.join(opened)["ok"]


@on_sqlite
@pytest.mark.parametrize("name", ["no:such", "message", "json", "connect"])
def test_an_unknown_event_is_refused(phone: Callable, name: str, opened: str) -> None:
    customer = phone(NIMALI)
    answer = customer.send(name, {"token": token(AGENT, "agent")})
    assert (answer["ok"], answer["code"]) == (False, "unknown_event")
    assert customer.join(opened)["ok"]


def test_a_revoked_session_can_do_nothing_more(app: Flask, phone: Callable, opened: str) -> None:
    session_id = ids.new_id()
    customer = phone(access_token=token(NIMALI, session_id=session_id))
    customer.join(opened)
    deliver(HANDLERS, an_event("session.revoked", NIMALI, {"session_id": session_id}))
    guard().watch._look()
    answer = customer.say(opened, "still me", "1")
    assert (answer["ok"], answer["code"]) == (False, "unauthorized")


def test_an_expired_token_can_do_nothing_more(phone: Callable, opened: str) -> None:
    customer = phone(NIMALI)
    customer.join(opened)
    with clock.frozen(clock.now() + timedelta(minutes=16)):
        assert customer.say(opened, "still me", "1")["code"] == "unauthorized"


def test_clients_learn_of_what_other_processes_told_while_the_broker_was_away(
    app: Flask, phone: Callable, opened: str
) -> None:
    customer = phone(NIMALI)
    customer.join(opened)
    with transaction() as session:  # another process, unheard
        wish = Wish(guard().admit(token(AGENT, "agent")), opened, "1", "x")
        send_message(session, app.extensions["sricare_settings"], wish)
    app.extensions["chat_sockets"].catch_up()
    assert [item["last_seq"] for item in customer.heard("conversation:updated")] == [1]


def test_connections_are_looked_after_again_after_whatever_went_wrong(
    app: Flask, phone: Callable, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(NIMALI).join(opened)
    sockets = app.extensions["chat_sockets"]
    with monkeypatch.context() as broken:
        broken.setattr(sockets, "_end_the_unwelcome", lambda: 1 / 0)
        sockets._look_after_connections()
    caught_up: list[bool] = []
    monkeypatch.setattr(sockets, "catch_up", lambda: caught_up.append(True))
    sockets._look_after_connections()
    assert caught_up == [True]


def test_telling_other_processes_goes_on_after_whatever_the_connection_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fanout = Fanout("amqp://127.0.0.1:9/")
    fates = iter([AttributeError("'NoneType' object has no attribute 'drain_events'"), SystemExit()])

    def connection() -> None:
        raise next(fates)

    monkeypatch.setattr(fanout, "_connection", connection)
    monkeypatch.setattr(Outage, "failed", lambda *_: 0.0)
    with pytest.raises(SystemExit):
        fanout._publish_waiting()


@on_sqlite
@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("GET", "", 400),
        ("GET", "EIO=3&transport=polling", 400),
        ("GET", "EIO=4&transport=pigeon", 400),
        ("GET", "EIO=4&transport=polling&sid=gone", 400),
        ("POST", "EIO=4&transport=polling&sid=gone", 400),
        ("GET", "EIO=4&transport=websocket", 400),
        ("DELETE", "EIO=4&transport=polling", 405),
    ],
)
def test_what_engine_io_refuses_is_a_problem_document(
    client: FlaskClient, method: str, query: str, status: int
) -> None:
    answer = client.open(f"/api/chat/socket.io/?{query}", method=method)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["code"] == {400: "malformed_request", 405: "method_not_allowed"}[status]
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
