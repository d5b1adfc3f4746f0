"""Conversations and messages over REST."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat.handlers import HANDLERS
from chat.use_cases import conversations as use_cases
from common import clock, contracts, ids
from common.db import transaction
from tests.support.services import an_event, bearer, deliver, emitted

NIMALI, KAMAL, AGENT = ids.new_id(), ids.new_id(), ids.new_id()
URL = "/api/chat/conversations"


def open_conversation(client: FlaskClient, user_id: str = NIMALI) -> str:
    answer = client.post(URL, json={"subject": "No data"}, headers=bearer(user_id))
    assert answer.status_code == 201, answer.text
    return answer.json["id"]


def send(client: FlaskClient, conversation_id: str, body: str, key: str, user_id: str = NIMALI, *roles: str):
    return client.post(
        f"{URL}/{conversation_id}/messages",
        json={"client_message_id": key, "body": body},
        headers=bearer(user_id, *roles),
    )


def messages(client: FlaskClient, conversation_id: str, query: str = "", user_id: str = NIMALI) -> dict:
    return client.get(f"{URL}/{conversation_id}/messages{query}", headers=bearer(user_id)).json


def test_a_conversation_waits_for_a_person_and_its_first_answer_takes_it(client: FlaskClient) -> None:
    opened = open_conversation(client)
    assert client.get(f"{URL}/{opened}", headers=bearer(NIMALI)).json["state"] == "queued"
    send(client, opened, "hello", "1")
    assert send(client, opened, "good day", "1", AGENT, "agent").status_code == 201
    now = client.get(f"{URL}/{opened}", headers=bearer(NIMALI)).json
    assert (now["state"], now["agent"]["id"], now["last_seq"]) == ("assigned", AGENT, 2)
    roles = [message["sender"]["role"] for message in messages(client, opened)["items"]]
    assert roles == ["customer", "agent"]


def test_a_repeated_message_is_the_same_message(client: FlaskClient) -> None:
    opened = open_conversation(client)
    first, again = send(client, opened, "hello", "a"), send(client, opened, "hello!", "a")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert send(client, opened, "my turn", "a", AGENT, "agent").json["seq"] == 2
    assert [m["body"] for m in messages(client, opened)["items"]] == ["hello", "my turn"]


def test_messages_of_many_at_once_get_gapless_numbers(app: Flask, client: FlaskClient) -> None:
    opened = open_conversation(client)

    def burst(sender: int) -> list[int]:
        mine = app.test_client()
        answers = [send(mine, opened, "x", f"{sender}-{n // 2}", AGENT, "agent") for n in range(12)]
        assert {answer.status_code for answer in answers} == {201, 200}
        return [answer.json["seq"] for answer in answers]

    with ThreadPoolExecutor(8) as pool:
        seqs = sorted(seq for found in pool.map(burst, range(8)) for seq in found)
    assert sorted(set(seqs)) == list(range(1, 49))
    assert [m["seq"] for m in messages(client, opened)["items"]] == list(range(1, 49))


def test_one_client_message_id_sent_at_once_is_stored_once(app: Flask, client: FlaskClient) -> None:
    opened = open_conversation(client)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: send(app.test_client(), opened, "x", "same"), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json["id"] for answer in answers}) == 1


def test_a_client_catches_up_page_by_page(client: FlaskClient) -> None:
    opened = open_conversation(client)
    for n in range(5):
        send(client, opened, f"m{n}", str(n))
    page = messages(client, opened, "?after_seq=1&limit=2")
    assert ([m["seq"] for m in page["items"]], page["next_cursor"]) == ([2, 3], "3")
    page = messages(client, opened, "?after_seq=3&limit=2")
    assert ([m["seq"] for m in page["items"]], page["next_cursor"]) == ([4, 5], None)


def test_another_customers_conversation_does_not_exist(client: FlaskClient) -> None:
    opened = open_conversation(client)
    theirs = bearer(KAMAL)
    assert client.get(f"{URL}/{opened}", headers=theirs).status_code == 404
    assert client.get(f"{URL}/{opened}/messages", headers=theirs).status_code == 404
    assert client.post(f"{URL}/{opened}/close", headers=theirs).status_code == 404
    assert send(client, opened, "hi", "1", KAMAL).status_code == 404
    assert client.get(URL, headers=theirs).json["items"] == []
    assert messages(client, opened)["items"] == []


def test_agents_list_the_conversations_of_all_by_state(client: FlaskClient) -> None:
    mine, theirs = open_conversation(client), open_conversation(client, KAMAL)
    client.post(f"{URL}/{mine}/close", headers=bearer(NIMALI))
    waiting = client.get(f"{URL}?state=queued", headers=bearer(AGENT, "agent")).json["items"]
    assert [item["id"] for item in waiting] == [theirs]
    everything = client.get(URL, headers=bearer(AGENT, "admin")).json["items"]
    assert [item["id"] for item in everything] == [theirs, mine]


def test_a_closed_conversation_takes_nothing_new_but_knows_what_it_has(client: FlaskClient) -> None:
    opened = open_conversation(client)
    first = send(client, opened, "hello", "a")
    for _ in range(2):
        closed = client.post(f"{URL}/{opened}/close", headers=bearer(NIMALI))
        assert (closed.status_code, closed.json["state"]) == (200, "closed")
    refused = send(client, opened, "one more", "b")
    assert (refused.status_code, refused.json["code"]) == (409, "conversation_closed")
    assert send(client, opened, "hello", "a").json == first.json
    assert messages(client, opened)["items"] == [first.json]


@pytest.mark.parametrize(
    "body",
    [
        {"client_message_id": "1", "body": ""},
        {"client_message_id": "1", "body": "   "},
        {"client_message_id": "1", "body": "x" * 4001},
        {"client_message_id": "1", "body": "අ" * 1366},
        {"client_message_id": "1", "body": "a\x00b"},
        {"client_message_id": "", "body": "x"},
        {"client_message_id": 1, "body": "x"},
        {"client_message_id": "1", "body": ["x"]},
        {"client_message_id": "1", "body": "x", "seq": 7},
        {"body": "x"},
    ],
)
def test_what_is_not_a_message_is_refused_and_not_stored(client: FlaskClient, body: dict) -> None:
    opened = open_conversation(client)
    answer = client.post(f"{URL}/{opened}/messages", json=body, headers=bearer(NIMALI))
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert messages(client, opened)["items"] == []


def test_names_arrive_by_events_in_any_order(client: FlaskClient) -> None:
    opened = open_conversation(client)
    send(client, opened, "hello", "1")
    assert messages(client, opened)["items"][0]["sender"]["name"] is None
    later = clock.now()
    deliver(HANDLERS, an_event("user.updated", NIMALI, {"name": "Nimali Silva"}, time=later))
    deliver(
        HANDLERS,
        an_event("user.created", NIMALI, {"name": "Nimali Perera"}, time=later - timedelta(minutes=1)),
    )
    assert messages(client, opened)["items"][0]["sender"]["name"] == "Nimali Silva"


def tell_of_missed() -> None:
    with transaction() as session:
        use_cases.tell_of_missed_messages(session)


def test_a_customer_is_told_once_per_absence_of_an_agents_message(client: FlaskClient) -> None:
    opened = open_conversation(client)
    with clock.frozen(clock.now()):
        send(client, opened, "good day", "1", AGENT, "agent")
        tell_of_missed()
        assert emitted("chat.message.missed") == []
        clock.move(timedelta(seconds=61))
        send(client, opened, "still there?", "2", AGENT, "agent")
        tell_of_missed()
        clock.move(timedelta(hours=1))
        tell_of_missed()
        (event,) = emitted("chat.message.missed")
        assert (event.subject, event.data["seq"]) == (NIMALI, 2)
        assert "still there?" not in str(event.data)
        send(client, opened, "back", "3")
        send(client, opened, "fine", "4", AGENT, "agent")
        clock.move(timedelta(seconds=61))
        tell_of_missed()
    assert [event.data["seq"] for event in emitted("chat.message.missed")] == [2, 4]


def test_a_copy_goes_to_the_customer_once_a_minute_whoever_asks(client: FlaskClient) -> None:
    opened = open_conversation(client)
    send(client, opened, "my bill", "1")
    send(client, opened, "it is paid", "1", AGENT, "agent")
    path = f"{URL}/{opened}/transcript"
    assert client.post(path, headers=bearer()).status_code == 404
    with clock.frozen(clock.now()):
        assert client.post(path, headers=bearer(AGENT, "agent")).status_code == 202
        again = client.post(path, headers=bearer(NIMALI))
        assert (again.status_code, again.headers["Retry-After"]) == (429, "60")
        clock.move(timedelta(minutes=1))
        assert client.post(path, headers=bearer(NIMALI)).status_code == 202
    events = emitted("chat.transcript.requested")
    assert [(event.subject, event.data["omitted"]) for event in events] == [(NIMALI, 0)] * 2
    assert [(line["sender_role"], line["body"]) for line in events[0].data["lines"]] == [
        ("customer", "my bill"),
        ("agent", "it is paid"),
    ]
    assert contracts.violation("chat.transcript.requested", events[0].data) is None


def test_of_a_very_long_conversation_the_copy_holds_the_end(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_cases, "TRANSCRIPT_BYTES", 10)
    opened = open_conversation(client)
    for n in range(4):
        send(client, opened, f"ශ{n}", str(n))
    client.post(f"{URL}/{opened}/transcript", headers=bearer(NIMALI))
    (event,) = emitted("chat.transcript.requested")
    assert event.data["omitted"] == 2
    assert [line["seq"] for line in event.data["lines"]] == [3, 4]
